//! Lets the program find MLX's library where `cargo xtask setup` put it, and compiles what is written in MLX's own language.
//!
//! mlx-sys says where MLX's headers are, or that set-up does. Where neither says it, as where code is only checked for
//! another machine, the program does without.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(mlx_headers)");
    if let Ok(folder) = env::var("DEP_MLX_LIB_DIR") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
    if let Some(folders) = env::var_os("DEP_MLX_INCLUDE") {
        compile(env::split_paths(&folders));
        println!("cargo::rustc-cfg=mlx_headers");
    }
}

fn compile(folders: impl Iterator<Item = PathBuf>) {
    let source = "src/call/again.cpp";
    println!("cargo::rerun-if-changed={source}");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++20").opt_level(2).file(source);
    for folder in folders {
        // As a system's, whose warnings are not ours.
        build.flag("-isystem").flag(folder);
    }
    for define in env::var("DEP_MLX_DEFINES").unwrap_or_default().split_whitespace() {
        let (name, value) = define.split_once('=').map_or((define, None), |(name, value)| (name, Some(value)));
        build.define(name, value);
    }
    build.compile("talkied_mlx_again");
}
