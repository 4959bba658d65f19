//! `bindings.rs`, which mlx-sys includes: mlx-c's headers in Rust, with the settings of mlx-sys's own build script.
//!
//! libclang is loaded at run time from `$LIBCLANG_PATH`, so `make` starts this program anew with that variable set
//! and the new process calls `write`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::mlxc::{self, PRELUDE};
use super::pip::{self, Requirements};
use super::tools::Tools;
use crate::command;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::workspace::Workspace;

/// The Python package that carries libclang, and its last version.
const LIBCLANG: &str = "libclang==18.1.1";

/// Makes `bindings.rs` in `folder`; `scratch` is a folder to leave nothing in.
pub fn make(tools: &Tools, workspace: &Workspace, scratch: &Path, folder: &Path) -> Result<()> {
    let work = scratch.join("clang");
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    fs::create_dir_all(&work).map_err(Error::io("create", &work))?;
    let libclang = libclang(workspace.platform, &work)?;
    eprintln!("  generating bindings.rs");
    let program = env::current_exe().map_err(Error::io("find", Path::new("this program")))?;
    let mut writer = Command::new(program);
    writer.env("LIBCLANG_PATH", libclang).arg("bindings");
    writer
        .arg("--root")
        .arg(&workspace.mlx_c)
        .arg("--out")
        .arg(folder.join("bindings.rs"))
        .arg("--");
    command::output(writer.args(clang_args(tools, workspace.platform, &work)?))?;
    fs::remove_dir_all(&work).map_err(Error::io("remove", &work))
}

/// Writes the bindings of the headers in `root` to `out`.
pub fn write(root: &Path, out: &Path, clang_args: &[String]) -> Result<()> {
    let rust_target = "1.73.0"
        .parse()
        .map_err(|error| Error::Unexpected(format!("bindgen: {error:?}")))?;
    let mut builder = bindgen::Builder::default()
        .rust_target(rust_target)
        .clang_arg(format!("-I{}", root.display()))
        .clang_args(clang_args)
        .blocklist_function("malloc")
        .blocklist_function("realloc");
    for header in mlxc::files(&root.join("mlx/c"), "h")? {
        builder = builder.header(header.to_string_lossy());
    }
    let bindings = builder
        .generate()
        .map_err(|error| Error::Unexpected(format!("failed to make bindings: {error}")))?;
    bindings.write_to_file(out).map_err(Error::io("write", out))
}

/// The folder of libclang: the one of the command line tools on macOS, else the Python package's.
fn libclang(platform: Platform, work: &Path) -> Result<PathBuf> {
    if platform == Platform::Mac
        && let Some(folder) = libclang_of_xcode()?
    {
        return Ok(folder);
    }
    eprintln!("  fetching {}", LIBCLANG.replace("==", " "));
    let wheels = pip::download(LIBCLANG, Requirements::Leave, None, work)?;
    pip::unpack(&wheels, work)?;
    // A wheel keeps its files in the root or in a folder named after the package.
    let places = [
        work.join("clang/native"),
        work.join("libclang-18.1.1.data/platlib/clang/native"),
    ];
    let found = places.into_iter().find(|folder| folder.is_dir());
    found.ok_or_else(|| Error::Unexpected(format!("{LIBCLANG} holds no library")))
}

fn libclang_of_xcode() -> Result<Option<PathBuf>> {
    let developer = command::output(Command::new("xcode-select").arg("--print-path"))?;
    let developer = Path::new(developer.trim());
    let places = ["usr/lib", "Toolchains/XcodeDefault.xctoolchain/usr/lib"];
    Ok(places
        .into_iter()
        .map(|place| developer.join(place))
        .find(|folder| folder.join("libclang.dylib").is_file()))
}

fn clang_args(tools: &Tools, platform: Platform, work: &Path) -> Result<Vec<String>> {
    let prelude = work.join("prelude.h");
    fs::write(&prelude, PRELUDE).map_err(Error::io("write", &prelude))?;
    let mut args = vec![
        "-DTALKIED_BINDINGS".to_owned(),
        format!("-include{}", prelude.display()),
    ];
    match platform {
        Platform::Mac => {
            let sdk = command::output(Command::new("xcrun").arg("--show-sdk-path"))?;
            args.extend(["-isysroot".to_owned(), sdk.trim().to_owned()]);
        }
        Platform::LinuxX86 => {}
        Platform::LinuxArm => {
            for (name, text) in ARM_HEADERS {
                let header = work.join(name);
                fs::write(&header, text).map_err(Error::io("write", &header))?;
            }
            args.push(format!("-I{}", work.display()));
        }
    }
    args.extend(compiler_headers(tools)?);
    Ok(args)
}

/// Stand-ins for the compiler's own headers of 16-bit floats, which the Python package does not bring.
const ARM_HEADERS: [(&str, &str); 2] = [
    ("arm_fp16.h", "typedef _Float16 float16_t;\n"),
    ("arm_bf16.h", "typedef unsigned short bfloat16_t;\n"),
];

/// libclang comes without the compiler's headers (`stddef.h` and the like): those of the C++ compiler serve.
fn compiler_headers(tools: &Tools) -> Result<Vec<String>> {
    let mut asked = Command::new(&tools.cxx);
    let resources = command::output(asked.arg("-print-resource-dir"))
        .map(|folder| format!("{}/include", folder.trim()));
    let folder = match resources {
        Ok(folder) => folder, // clang
        Err(_) => command::output(Command::new(&tools.cxx).arg("-print-file-name=include"))?
            .trim()
            .to_owned(), // GCC
    };
    Ok(vec![format!("-I{folder}")])
}
