//! `talkied-mlx`: serves one model to the daemon that started it. Standard input is the daemon's socket.

/// MLX takes some ten pieces of memory for every operation that it is told of. On Linux these calls come here too: the
/// loader takes a program's own `malloc` before the library's, with which a step's graph takes a quarter longer. macOS
/// binds symbols to libraries, so that this would serve Rust alone.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::io::Result<()> {
    engine::serve::run(talkied_mlx::Mlx::new())
}
