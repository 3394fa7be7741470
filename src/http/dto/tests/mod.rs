//! What bodies are refused and how, and answers to the byte.

mod encode;
mod parse;
