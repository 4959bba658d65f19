//! `talkied-candle`: serves one model to the daemon that started it, whose socket is standard input.

use clap::Parser;

/// The Candle engine of talkied: serves a model on the socket that is its standard input
#[derive(Parser)]
#[command(name = "talkied-candle", version)]
struct Arguments {}

fn main() -> std::io::Result<()> {
    let Arguments {} = Arguments::parse();
    engine::serve::run(talkied_candle::Candle::new())
}
