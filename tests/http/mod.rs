//! Tests over HTTP: a real server on a loopback port, with the tiny random model.

mod access;
mod adapt;
mod adapter_kinds;
mod adapters;
mod archives;
mod bad_input;
mod chat;
mod completions;
mod disconnect;
mod fields;
mod formats;
mod ingest;
mod jobs;
mod known;
mod limits;
mod mcp;
mod openai_python;
mod openapi;
mod pages;
mod python;
mod retention;
mod streams;
mod titles;
mod train;
mod train_fewshot;
mod uploads;
