//! The library and the real program against a fake daemon: bytes on a socket, exit codes, what is printed.

mod commands;
mod complete;
mod fake;
mod files;
mod generate;
mod help;
mod library;
mod pull;
mod run;
mod service;
mod start;
mod suggest;
mod terminal;
mod versions;
mod wire_examples;
