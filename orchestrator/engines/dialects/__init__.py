"""What model servers speak: vLLM, llama.cpp, and chat-only APIs, each over the one HTTP transport."""
