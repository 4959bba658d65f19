//! `talkied-mlx`: serves one model to the daemon that started it. Standard input is the daemon's socket.

fn main() -> std::io::Result<()> {
    engine::serve::run(talkied_mlx::Mlx::new())
}
