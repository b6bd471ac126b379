"""The landing: joins engines, policies and the journal into runs; the only room that knows LangGraph."""
