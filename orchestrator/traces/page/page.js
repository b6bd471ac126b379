"use strict";
// Draws the page from the data inside it. Every text of a run becomes a text node: nothing here parses HTML.

const told = JSON.parse(document.getElementById("data").textContent);
const runs = told.runs;
const STANDS = new Set(["kept", "inherited", "observed"]);
const RECALLED = new Set(["shown", "withheld", "left out", "cited", "made up"]);
const ENDED = new Set(["ended", "error"]);
const SVG = "http://www.w3.org/2000/svg";

// ---- making nodes

function filled(node, names, children) {
  for (const [name, value] of Object.entries(names || {})) {
    if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((each) => each !== undefined && each !== null && each !== false && each !== ""));
  return node;
}
const make = (tag, names, ...children) => filled(document.createElement(tag), names, children);
const draw = (tag, names, ...children) => filled(document.createElementNS(SVG, tag), names, children);

function table(titles, rows) {
  const cell = (tag, value, title) => make(tag, { class: title.endsWith("#") ? "num" : "cell" }, String(value ?? ""));
  const head = make("tr", {}, titles.map((each) => filled(cell("th", each.replace("#", ""), each), { scope: "col" }, [])));
  const body = rows.map((row) => make("tr", { class: row.sum && "sum" }, row.cells.map((value, n) => cell("td", value, titles[n]))));
  return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, body)));
}

function facts(pairs) {
  const rows = pairs.filter(([, value]) => value !== undefined && value !== "");
  return make("table", { class: "facts" }, make("tbody", {}, rows.map(([name, value]) =>
    make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(value))))));
}

// ---- numbers, written as the terminal writes them

function number(value, sign = "") {
  if (typeof value !== "number") return value === undefined ? "-" : String(value);
  const digits = Math.abs(value) > 0 && Math.abs(value) < 1 ? 3 : 1;
  return (sign && value >= 0 ? "+" : "") + value.toFixed(digits);
}
const ms = (seconds) => (seconds === undefined ? "-" : `${(1000 * seconds).toFixed(0)}`);
const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(0)}%` : "-");
const total = (rows, key) => rows.reduce((sum, row) => sum + (row[key] || 0), 0);
const json = (value) => JSON.stringify(value, null, 1).replace(/[{}"]/g, "").replace(/,?\n\s*/g, "  ").trim();

// ---- who wrote it: the smallest and the largest engine keep their colours whatever stands between them

function who(run, writer) {
  const place = run.engines.indexOf(writer);
  if (place < 0) return "tool";
  if (place === 0) return "small";
  return place === run.engines.length - 1 ? "large" : ["third", "fourth"][(place - 1) % 2];
}

// ---- one candidate of a step

function gauge(item, run) {
  if (item.score === undefined) return "";
  if (item.margin === undefined || item.threshold === undefined) return make("span", { class: "gauge" }, item.score);
  const [low, high] = run.range;
  const x = (value) => 4 + (44 * (value - low)) / (high - low || 1);
  const said = `${item.score} needs ${number(item.threshold)}`;
  const picture = draw("svg", { viewBox: "0 0 52 12", "aria-hidden": "true" },
    draw("line", { class: "track", x1: 2, x2: 50, y1: 6, y2: 6 }),
    draw("line", { class: "need", x1: x(item.threshold), x2: x(item.threshold), y1: 0, y2: 12 }),
    draw("circle", { cx: x(item.threshold + item.margin), cy: 6, r: 4 }));
  return make("span", { class: "gauge", title: `${said}: ${number(item.margin, "+")}` }, picture,
    make("span", { class: "num" }, `${item.score} ${item.margin < 0 ? "<" : "≥"} ${number(item.threshold)}  (${number(item.margin, "+")})`));
}

function spent(item) {
  return item.verdict === "observed" ? `${ms(item.seconds)} ms` : `${item.is_bound ? "~" : ""}${item.tokens} tokens · ${ms(item.seconds)} ms`;
}

function step(item, run) {
  if (item.remark !== undefined) {
    return item.node = make("p", { class: "remark" }, make("b", {}, item.remark), item.reason && `: ${item.reason}`);
  }
  const reason = item.origin ? `from run ${item.origin.slice(0, 10)}` : item.reason;
  const fallen = STANDS.has(item.verdict) ? "" : " fallen";
  const details = make("details", {},
    make("summary", {},
      make("span", { class: "num" }, String(item.step)),
      make("span", { class: "who" }, item.writer),
      make("span", { class: `verdict ${item.verdict.replace(" ", "-")}` }, (fallen ? "✗ " : "") + item.verdict),
      make("span", {}, gauge(item, run)),
      make("span", { class: "reason" }, reason),
      make("span", { class: "spent" }, spent(item))));
  const text = item.text === undefined ? make("p", { class: "text soft" }, "nothing was written") : make("p", { class: "text" }, item.text.trimEnd());
  const node = make("article", { class: `step ${who(run, item.writer)}${fallen}`, id: item.id }, details, text);
  let behind;
  details.addEventListener("toggle", () => {
    if (!behind) node.append(behind = why(item, run));
    behind.hidden = !details.open;
  });
  return item.node = node;
}

// ---- what is behind a candidate, drawn when it is opened

function why(item, run) {
  const parts = [];
  for (const each of item.decisions || []) parts.push(make("h3", {}, `Decision ${each.door.replaceAll("_", " ")}`), decision(each));
  if (item.signals) {
    parts.push(make("h3", {}, "Signals"), table(["name", "reading#", "raw#", "unit", "tokens#", "ms#", "reason"],
      item.signals.map((each) => ({ cells: [each.name, number(each.value), number(each.raw), each.unit, each.tokens, ms(each.seconds), each.reason] }))));
  }
  const beside = run.items.filter((each) => each.step === item.step && each !== item && each.remark === undefined);
  if (beside.length) {
    parts.push(make("h3", {}, "Candidates of this step"), make("div", { class: "beside" }, [item, ...beside].map((each) =>
      make("div", { class: who(run, each.writer) },
        make("div", {}, make("span", { class: "who" }, each.writer), ` ${each.verdict}`, each.score !== undefined && ` · ${each.score}`, ` · ${spent(each)}`),
        make("pre", {}, (each.text ?? "").trimEnd())))));
  }
  if (item.drafting) parts.push(make("h3", {}, "Speculation"), make("p", { class: "soft" }, item.drafting));
  if (item.calls) parts.push(make("h3", {}, "Calls"), calls(item.calls));
  else parts.push(make("p", { class: "soft" }, item.origin ? `its calls are those of run ${item.origin}` : "no engine was called for it"));
  return make("div", { class: "why" }, parts);
}

function decision(each) {
  const reads = each.threshold !== undefined && each.margin !== undefined;
  return facts([["chose", [each.action, each.engine].filter(Boolean).join(" ")], ["because", each.reason],
    ["threshold", each.threshold === undefined ? "" : number(each.threshold)],
    ["margin", reads ? `${number(each.margin, "+")} (reading ${number(each.threshold + each.margin)})` : ""],
    ["instead of", each.alternatives && each.alternatives.replaceAll(",", ", ")], ["policy", each.policy],
    ["detail", each.detail && json(each.detail)]]);
}

function calls(rows) {
  const says = (key) => rows.some((each) => each[key] !== undefined);
  const columns = [["call#", (c) => c.seq], ["purpose", (c) => c.purpose], ["engine", (c) => c.engine],
    ["status", (c) => [c.status, c.error].filter(Boolean).join(": ")], ["prompt#", (c) => c.prompt_tokens],
    ["cached#", (c) => c.cached_tokens ?? "-"], ["output#", (c) => `${c.is_bound ? "~" : ""}${c.output_tokens ?? "-"} of ${c.max_tokens}`],
    ["ms#", (c) => ms(c.seconds)], ["stop", (c) => c.stop], ["seed#", (c) => c.seed], ["prompt digest", (c) => c.prompt]];
  if (says("first_token_s")) columns.splice(8, 0, ["first token ms#", (c) => ms(c.first_token_s)]);
  if (says("queue_s")) columns.splice(8, 0, ["queued ms#", (c) => ms(c.queue_s)]);
  if (says("drafting")) columns.push(["speculation", (c) => c.drafting]);
  if (says("text")) columns.push(["answered", (c) => c.text]);
  return table(columns.map(([title]) => title), rows.map((each) => ({ cells: columns.map(([, read]) => read(each)) })));
}

// ---- the run as a whole

function head(run) {
  const rows = run.ledger || [];
  const tokens = total(rows, "output_tokens");
  const large = run.engines[run.engines.length - 1];
  const field = (name) => (run.fields.find(([each]) => each === name) || [])[1];
  const tiles = [["answer", run.answer ?? "none"], ["steps", run.steps], ["output tokens", tokens],
    run.engines.length > 1 && [`of them by ${large}`, share(total(rows.filter((row) => row.engine === large), "output_tokens"), tokens)],
    ["thrown away", share(total(rows.filter((row) => row.fate !== "used"), "output_tokens"), tokens)],
    ["time", run.seconds === undefined ? "-" : `${run.seconds.toFixed(1)} s`],
    total(rows, "cost") > 0 && ["cost", total(rows, "cost").toPrecision(4)]];
  return make("header", {},
    make("h1", {}, "run ", make("span", { class: "id" }, run.id), " ", make("span", { class: `status ${run.status}` }, run.status.replace("_", " "))),
    make("p", { class: "asked" }, field("asked")),
    run.status === "unfinished" && make("p", { class: "warning", role: "note" },
      "This run has not ended: it is running, or was interrupted. What was written to the journal so far is below, and no more."),
    make("dl", { class: "tiles" }, tiles.filter(Boolean).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value))))),
    map(run),
    facts(run.fields.filter(([name]) => RECALLED.has(name) || (run.status !== "completed" && ENDED.has(name)))),
    run.handbook && make("details", { open: true }, make("summary", { class: "soft" }, "what the handbook had for it"), facts(run.handbook)),
    make("details", {}, make("summary", { class: "soft" }, "how it was run"),
      facts(run.fields.filter(([name]) => name !== "asked" && name !== "answer" && !RECALLED.has(name))),
      make("h3", {}, "Settings"), make("pre", { class: "text" }, JSON.stringify(run.settings ?? {}, null, 2))));
}

function map(run) {
  const tried = run.items.filter((each) => each.remark === undefined);
  const whole = total(tried, "tokens") || 1;
  let x = 0;
  const bars = tried.map((each) => {
    const width = (1000 * each.tokens) / whole;
    const stands = STANDS.has(each.verdict);
    x += width;
    const bar = draw("rect", { class: `${who(run, each.writer)}${stands ? "" : " fallen"}`, x: x - width, y: stands ? 2 : 26, width: Math.max(width * 0.94, 0.4), height: stands ? 20 : 16 },
      draw("title", {}, `step ${each.step}, ${each.writer}, ${each.verdict}, ${spent(each)}`));
    bar.addEventListener("click", () => go(each.id));
    return bar;
  });
  const fallen = tried.filter((each) => !STANDS.has(each.verdict)).length;
  const said = `${tried.length} candidates in the order they were written, as wide as their tokens${fallen ? `; ${fallen} of them, below, do not stand` : ""}`;
  const writers = [...new Set(tried.map((each) => each.writer))];
  const keys = writers.map((each) => make("span", { class: who(run, each) }, make("span", { class: "key" }), each));
  return [draw("svg", { class: "map", viewBox: "0 0 1000 44", preserveAspectRatio: "none", role: "img", "aria-label": said }, bars),
    make("p", { class: "legend" }, keys, said)];
}

function chart(run) {
  const rows = run.ledger || [];
  if (!rows.length) return make("p", { class: "soft" }, "no call has ended");
  const lines = [...new Set(rows.map((row) => `${row.engine}\n${row.purpose}`))].map((each) => each.split("\n"));
  const bars = ([key, title, left]) => {
    const most = Math.max(1, ...lines.map(([engine, purpose]) => total(rows.filter((row) => row.engine === engine && row.purpose === purpose), key)));
    return [draw("text", { class: "soft", x: left, y: 12 }, title), lines.map(([engine, purpose], n) => {
      let x = left;
      const own = rows.filter((row) => row.engine === engine && row.purpose === purpose);
      const parts = own.map((row) => {
        const width = (190 * row[key]) / most;
        const place = { x, y: 22 + 22 * n, width, height: 14 };
        x += width;
        return [draw("rect", { ...place, class: who(run, engine) }, draw("title", {}, `${engine} ${purpose} ${row.fate}: ${row[key]}`)),
          row.fate !== "used" && draw("rect", { ...place, class: "over", "data-fate": row.fate })].filter(Boolean);
      });
      return [parts, draw("text", { class: "soft", x: x + 5, y: 33 + 22 * n }, String(total(own, key)))];
    }).flat(2)].flat();
  };
  const names = lines.map(([engine, purpose], n) => draw("text", { x: 0, y: 33 + 22 * n }, `${engine.slice(0, 12)} · ${purpose.slice(0, 12)}`));
  const picture = draw("svg", { class: "chart", viewBox: `0 0 730 ${28 + 22 * lines.length}`, role: "img", "aria-label": "Tokens by engine, purpose and fate; the table below has the numbers" },
    names, bars(["output_tokens", "output tokens", 170]), bars(["prompt_tokens", "prompt tokens", 460]));
  picture.querySelectorAll(".over").forEach((each) => hatch(picture, each));
  const legend = make("p", { class: "legend" }, make("span", {}, "plain: used"),
    rows.some((row) => row.fate !== "used") && make("span", {}, "striped: thrown away, cut off or failed"));
  return [picture, legend];
}

function hatch(picture, over) {
  const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => Number(over.getAttribute(name)));
  let path = "";
  for (let at = x; at < x + width; at += 6) {
    const end = Math.min(at + height, x + width);
    path += `M${at} ${y + height}L${end} ${y + height - (end - at)}`;
  }
  picture.append(draw("g", { class: "hatch" }, draw("path", { d: path })));
  over.remove();
}

function ledger(run) {
  const rows = run.ledger || [];
  const cells = (names, own) => [...names, total(own, "calls"), total(own, "prompt_tokens"),
    own.some((row) => row.cached_tokens !== undefined) ? total(own, "cached_tokens") : "-",
    (total(own, "uncertain") ? "~" : "") + total(own, "output_tokens"), total(own, "seconds").toFixed(2), total(own, "cost").toPrecision(4)];
  const titles = ["engine", "purpose", "fate", "calls#", "prompt#", "cached#", "output#", "s#", "cost#"];
  const lines = rows.map((row) => ({ cells: cells([row.engine, row.purpose, row.fate], [row]) }));
  for (const engine of run.engines) {
    const own = rows.filter((row) => row.engine === engine);
    if (own.length) lines.push({ sum: true, cells: cells([engine, "all", ""], own) });
  }
  lines.push({ sum: true, cells: cells(["all", "", ""], rows) });
  const width = total(rows, "cost") > 0 ? 9 : 8;
  lines.forEach((line) => line.cells.splice(width));
  return [chart(run), table(titles.slice(0, width), lines), (run.notes || []).map((each) => make("p", { class: "soft" }, each))];
}

function noticed(run) {
  const seen = (run.noticed || []).map((each) => ({ cells: [each.step, each.kind, [each.action, each.engine].filter(Boolean).join(" "), each.reason, each.detail && json(each.detail)] }));
  const rest = (run.events || []).map((each) => ({ cells: [each.step, each.kind, "", each.reason, ""] }));
  return [...seen, ...rest].length ? table(["step#", "what", "done", "reason", "detail"], [...seen, ...rest]) : make("p", { class: "soft" }, "nothing");
}

// ---- the steps, of one run in the order they were begun in, of two runs step by step

function rows() {
  if (runs.length === 1) return runs[0].items.map((item) => make("li", {}, step(item, runs[0])));
  const last = Math.max(...runs.flatMap((run) => run.items.map((item) => item.step)), -1);
  const sides = runs.map((run) => grouped(run.items));
  return Array.from({ length: last + 1 }, (_, n) => {
    const here = told.parting && told.parting[0] === n;
    const sign = here && make("p", { class: "parted", id: "parting" }, `the runs part at step ${n}: ${told.parting[1]}`);
    return make("li", { class: here && "parting" }, sign || null, sides.map((side, which) =>
      make("div", {}, (side.get(n) || []).map((item) => step(item, runs[which])))));
  });
}

function grouped(items) {
  const groups = new Map();
  for (const item of items) {
    if (!groups.has(item.step)) groups.set(item.step, []);
    groups.get(item.step).push(item);
  }
  return groups;
}

function difference() {
  const tokens = (run, large) => total((run.ledger || []).filter((row) => !large || row.engine === run.engines[run.engines.length - 1]), "output_tokens");
  const lines = [["status", (run) => run.status], ["answer", (run) => run.answer ?? "none"], ["steps", (run) => run.steps],
    ["output tokens", (run) => tokens(run)], ["of the largest engine", (run) => tokens(run, true)],
    ["prompt tokens", (run) => total(run.ledger || [], "prompt_tokens")],
    ["seconds", (run) => (run.seconds === undefined ? "-" : Number(run.seconds.toFixed(2)))],
    runs.some((run) => total(run.ledger || [], "cost")) && ["cost", (run) => Number(total(run.ledger || [], "cost").toPrecision(4))]].filter(Boolean);
  const body = lines.map(([name, read]) => {
    const [one, two] = runs.map(read);
    const delta = typeof one === "number" && typeof two === "number" ? Number((two - one).toFixed(4)) : one === two ? "same" : "differs";
    return { cells: [name, one, two, typeof delta === "number" && delta > 0 ? `+${delta}` : delta] };
  });
  const asked = runs.map((run) => run.fields.find(([name]) => name === "asked")[1]);
  return [asked[0] !== asked[1] && make("p", { class: "warning", role: "note" }, "These runs were asked different questions."),
    table(["", `${runs[0].id}#`, `${runs[1].id}#`, "difference#"], body),
    make("p", {}, told.parting ? make("a", { href: "#parting" }, `They part at step ${told.parting[0]}: ${told.parting[1]}.`) : "They tried and kept the same at every step.")];
}

// ---- finding one's way: words, kinds, and the keys j, k and /

function tools(list) {
  const words = make("input", { type: "search", placeholder: "words in a step", "aria-label": "show steps with these words" });
  const kinds = make("select", { "aria-label": "which candidates to show" },
    [["", "every candidate"], ["stands", "what stands"], ["fallen", "what was turned away"],
      ...[...new Set(runs.flatMap((run) => run.items.map((each) => each.writer)))].filter(Boolean).map((each) => [`by:${each}`, `by ${each}`])]
      .map(([value, name]) => make("option", { value }, name)));
  const count = make("span", { class: "soft", role: "status" });
  const open = make("button", { type: "button" }, "open all");
  const matches = (item) => (!words.value || `${item.text ?? ""} ${item.reason ?? ""} ${item.remark ?? ""}`.toLowerCase().includes(words.value.toLowerCase()))
    && (!kinds.value || (item.remark === undefined && (kinds.value === "stands" ? STANDS.has(item.verdict)
      : kinds.value === "fallen" ? !STANDS.has(item.verdict) : kinds.value === `by:${item.writer}`)));
  const sift = () => {
    let left = 0;
    for (const item of runs.flatMap((run) => run.items)) {
      item.node.hidden = !matches(item);
      left += item.node.hidden ? 0 : 1;
    }
    for (const row of list.children) row.hidden = ![...row.querySelectorAll(".step, .remark")].some((each) => !each.hidden);
    count.textContent = words.value || kinds.value ? `${left} shown` : "";
  };
  words.addEventListener("input", sift);
  kinds.addEventListener("change", sift);
  open.addEventListener("click", () => {
    const opens = open.textContent === "open all";
    list.querySelectorAll("details").forEach((each) => { each.open = opens; });
    open.textContent = opens ? "close all" : "open all";
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") { words.focus(); event.preventDefault(); }
    if (event.key === "j" || event.key === "k") next(event.key === "j" ? 1 : -1);
  });
  return make("div", { class: "tools" }, words, kinds, open, count, make("span", { class: "soft" }, "keys: j and k go on and back, Enter opens, / finds"));
}

function next(by) {
  const heads = [...document.querySelectorAll("ol.steps .step:not([hidden]) summary")].filter((each) => !each.closest("li").hidden);
  const at = heads.indexOf(document.activeElement);
  const to = heads[at < 0 && by < 0 ? 0 : Math.min(Math.max(at + by, 0), heads.length - 1)];
  if (to) to.focus();
}

function go(id) {
  const node = id && document.getElementById(id);
  if (!node) return;
  node.scrollIntoView({ block: "center" });
  const details = node.querySelector("details");
  if (details) { details.open = true; details.querySelector("summary").focus({ preventScroll: true }); }
}

// ---- the page

function prepare(run, which) {
  run.items = run.items || [];
  const seen = new Map();
  const read = [];
  for (const item of run.items) {
    if (item.remark !== undefined) continue;
    const number = seen.get(item.step) || 0;
    seen.set(item.step, number + 1);
    item.id = `${which ? "other-" : ""}step-${item.step}${number ? `.${number}` : ""}`;
    if (typeof item.threshold === "number" && typeof item.margin === "number") read.push(item.threshold, item.threshold + item.margin);
  }
  run.range = [Math.min(0, ...read), Math.max(...read, 0)];
}

function sections(run) {
  const others = run.others ? [make("h2", {}, "Calls about no candidate"), calls(run.others)] : [];
  return make("section", {}, make("h2", {}, "Ledger"), ledger(run), make("h2", {}, "What was noticed and decided aside"), noticed(run), others);
}

const page = document.getElementById("page");
runs.forEach(prepare);
const list = make("ol", { class: "steps" });
if (runs.length === 2) page.classList.add("two");
page.append(make("div", { class: "runs" }, runs.map(head)));
if (runs.length === 2) page.append(make("section", {}, make("h2", {}, "Side by side"), ...difference().filter(Boolean)));
list.append(...rows());
page.append(make("section", {}, make("h2", {}, "Steps"), tools(list),
  list.childElementCount ? list : make("p", { class: "soft" }, "no step was begun")));
page.append(make("div", { class: "runs" }, runs.map(sections)));
document.title = `run ${runs.map((run) => run.id).join(" beside ")}`;
document.documentElement.dataset.ready = "yes";
for (const moment of ["load", "hashchange"]) addEventListener(moment, () => go(location.hash.slice(1)));
