//! mlx-c, MLX's C interface, compiled from the sources in the mlx-sys crate into `libmlxc.a`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::tools::Tools;
use crate::command;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::workspace::Workspace;

/// Included ahead of every source: what mlx-c takes for granted and some compilers lack.
pub const PRELUDE: &str = include_str!("prelude.h");

/// Compiles `mlx/c/*.cpp` against MLX's headers and archives the result in `folder`.
pub fn build(
    tools: &Tools,
    workspace: &Workspace,
    mlx_headers: &Path,
    folder: &Path,
) -> Result<()> {
    let sources = files(&workspace.mlx_c.join("mlx/c"), "cpp")?;
    let jobs = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(sources.len());
    eprintln!(
        "  compiling mlx-c: {} files, {jobs} at a time",
        sources.len()
    );
    let objects = folder.join("objects");
    fs::create_dir_all(&objects).map_err(Error::io("create", &objects))?;
    let prelude = objects.join("prelude.h");
    fs::write(&prelude, PRELUDE).map_err(Error::io("write", &prelude))?;
    let flags = flags(workspace, mlx_headers, &prelude);
    in_parallel(&sources, jobs, |source| {
        let object = objects
            .join(source.file_name().unwrap_or_default())
            .with_extension("o");
        command::output(
            Command::new(&tools.cxx)
                .args(&flags)
                .arg("-c")
                .arg(source)
                .arg("-o")
                .arg(object),
        )
        .map(|_| ())
    })?;
    command::output(
        Command::new(&tools.ar)
            .arg("rcs")
            .arg(folder.join("libmlxc.a"))
            .args(files(&objects, "o")?),
    )?;
    fs::remove_dir_all(&objects).map_err(Error::io("remove", &objects))
}

/// The files of a folder that end so, in order.
pub fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>();
    let mut paths = paths.map_err(Error::io("read", folder))?;
    paths.retain(|path| path.extension() == Some(OsStr::new(extension)));
    paths.sort();
    Ok(paths)
}

fn flags(workspace: &Workspace, mlx_headers: &Path, prelude: &Path) -> Vec<String> {
    let mut flags: Vec<String> = ["-std=c++20", "-O2", "-fPIC", "-w"]
        .map(str::to_owned)
        .into();
    flags.extend(["-include".to_owned(), prelude.display().to_string()]);
    for folder in [
        &workspace.mlx_c,
        mlx_headers,
        &mlx_headers.join("metal_cpp"),
    ] {
        flags.push(format!("-I{}", folder.display()));
    }
    if workspace.platform == Platform::Mac {
        flags.push("-mmacosx-version-min=14.0".to_owned()); // the oldest macOS that MLX's wheels run on
    }
    flags
}

/// Runs `work` on each item, `jobs` at a time; the first error stops the items not yet begun.
fn in_parallel(
    items: &[PathBuf],
    jobs: usize,
    work: impl Fn(&Path) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(item) {
                next.store(items.len(), Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })
}
