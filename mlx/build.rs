//! Lets the program find MLX's library where `cargo xtask setup` put it.
//!
//! Without that set-up there is nothing to do: mlx-sys then links MLX in itself.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(folder) = std::env::var("DEP_MLX_LIB_DIR") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
