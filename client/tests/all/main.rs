//! The library and the real program against a fake daemon: bytes on a socket, exit codes, what is printed.

mod commands;
mod fake;
mod generate;
mod help;
mod library;
mod service_files;
mod start;
mod wire_examples;
