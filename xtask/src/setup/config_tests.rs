use super::*;

#[test]
fn linux() {
    let layout = Layout::of("/cache/mlx".into());
    assert_eq!(
        text(Platform::LinuxX86, Backend::Cpu, &layout),
        r#"# Written by `cargo xtask setup`.
[target.x86_64-unknown-linux-gnu.mlx]
rustc-link-search = ["native=/cache/mlx/mlxc","native=/cache/mlx/wheels/mlx/lib"]
rustc-link-lib = ["static=mlxc","dylib=mlx","stdc++"]
rustc-env = { OUT_DIR = "/cache/mlx/bindings" }
lib_dir = "/cache/mlx/wheels/mlx/lib"
include = "/cache/mlx/wheels/mlx/include"
backend = "cpu"

[target.x86_64-unknown-linux-gnu]
rustdocflags = ["-C","link-arg=-Wl,-rpath,/cache/mlx/wheels/mlx/lib"]
"#
    );
}

#[test]
fn macos_links_the_frameworks() {
    let text = text(Platform::Mac, Backend::Metal, &Layout::of("/cache/mlx".into()));
    assert!(text.contains("[target.aarch64-apple-darwin.mlx]\n"));
    assert!(text.contains(r#""framework=Foundation","framework=Metal","framework=Accelerate"]"#));
}

#[test]
fn the_backend_chosen_last_is_read_back() {
    let path = std::env::temp_dir().join(format!("xtask-config-{}.toml", std::process::id()));
    write(&path, Platform::LinuxX86, Backend::Cuda, &Layout::of("/cache/mlx".into())).unwrap();
    assert_eq!(chosen(&path), Some(Backend::Cuda));
    fs::remove_file(&path).unwrap();
    assert_eq!(chosen(&path), None);
}
