//! Kernels of our own, put where MLX looks for those that it compiled before.
//!
//! MLX would compile each of them for seconds in every process, and let no other computation look up a kernel meanwhile.
//! But it reads its folder of compiled ones first, by a name that it makes of the kernel's name and text. So the name and
//! the text are made here as MLX 0.32.2 makes them (`backend/cuda/custom_kernel.cpp` and `jit_module.cpp`), and what is
//! found there was compiled by us, without MLX's headers, in a fraction of a second and once for a machine. With any other version
//! of MLX, nothing is put there.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

/// The one version whose names these are.
const MLX: &str = "0.32.2";

/// What kernels of 16-bit numbers have in common. Before it they say `IS_BFLOAT`.
pub const UNITS: &str = include_str!("units.cu");

/// A kernel without the declaration that MLX writes around it.
pub struct Own {
    /// A name for C, which says all that the text depends on.
    pub name: String,
    /// Declarations before it, in words that need no other header.
    pub header: String,
    /// What the function does.
    pub body: String,
    /// What it is given, in this order.
    pub inputs: &'static [Input],
    /// What the numbers of its one output `out` are in CUDA's words; of those inputs too that name no type.
    pub kind: &'static str,
}

/// An array that a kernel is given, and what MLX tells it of that: what the body asks for by name.
pub struct Input {
    /// The pointer; behind it come `NAME_shape` and `NAME_ndim`, where they are told.
    pub name: &'static str,
    /// What the numbers are in CUDA's words, where they are not those of the output.
    pub kind: Option<&'static str>,
    /// Whether the lengths of the axes are told.
    pub has_shape: bool,
    /// Whether numbers from one entry of each axis to the next are. Where those of any input are, none is copied to lie in
    /// one piece before it is given.
    pub has_strides: bool,
    /// Whether the count of axes is.
    pub has_ndim: bool,
}

impl Input {
    /// One of which nothing is told.
    pub const fn bare(name: &'static str) -> Self {
        Self { name, kind: None, has_shape: false, has_strides: false, has_ndim: false }
    }
}

impl Own {
    /// Has MLX find the kernel: `compile` turns a text into what a GPU reads. Nothing is compiled where it is there already.
    pub fn put(&self, compile: impl FnOnce(&str) -> io::Result<Vec<u8>>) -> io::Result<()> {
        let folder = env::var_os(super::FOLDER).map(PathBuf::from).filter(|_| super::version() == MLX);
        let folder = folder.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        self.put_into(&folder, compile)
    }

    fn put_into(&self, folder: &Path, compile: impl FnOnce(&str) -> io::Result<Vec<u8>>) -> io::Result<()> {
        let symbol = self.symbol();
        let place = folder.join(format!("{symbol}_{:x}.ptx", hash(self.as_mlx_has_it().as_bytes())));
        let names = place.with_extension("txt");
        if place.try_exists()? && names.try_exists()? {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        let code = compile(&self.alone())?;
        // What is in it. MLX asks for the code first, so that this must be whole before.
        write(&names, format!("mlx::core::cu::{symbol}\t{symbol}\n").as_bytes())?;
        write(&place, &code)
    }

    /// The function's name.
    fn symbol(&self) -> String {
        format!("custom_kernel_{}", self.name)
    }

    /// The text that MLX would compile.
    fn as_mlx_has_it(&self) -> String {
        let before = "\n#include \"mlx/backend/cuda/device/utils.cuh\"\n\n#include <cooperative_groups.h>\n\n";
        let inside = "namespace mlx::core::cu {\n\nnamespace cg = cooperative_groups;\n\n__global__ void ";
        let behind = "\n}\n\n} // namespace mlx::core::cu\n";
        let Self { header, body, .. } = self;
        format!("{before}{header}{inside}{}(\n{}) {{\n{body}{behind}", self.symbol(), self.parameters(|kind| kind))
    }

    /// The same for a compiler that has no header: pointers to whatever, and sizes as MLX lays them out.
    pub fn alone(&self) -> String {
        let Self { header, body, .. } = self;
        let axes = |name: &str, kind: &str| {
            format!(
                "struct {name} {{\n  {kind} axes[10];\n  __device__ {kind} operator[](int axis) const {{ return axes[axis]; }}\n}};\n"
            )
        };
        let (shape, strides) = (axes("Shape", "int"), axes("Strides", "long long"));
        format!(
            "{header}{shape}{strides}extern \"C\" __global__ void {}(\n{}) {{\n{body}\n}}\n",
            self.symbol(),
            self.parameters(|_| "void")
        )
    }

    /// The list of parameters, with each type in the words of `kind`.
    fn parameters(&self, kind: impl Fn(&'static str) -> &'static str) -> String {
        let mut list = String::new();
        for input in self.inputs {
            let Input { name, .. } = input;
            // Writing to a text cannot fail.
            let _ = writeln!(list, "    const {}* {name},", kind(input.kind.unwrap_or(self.kind)));
            if input.has_shape {
                let _ = writeln!(list, "    const __grid_constant__ Shape {name}_shape,");
            }
            if input.has_strides {
                let _ = writeln!(list, "    const __grid_constant__ Strides {name}_strides,");
            }
            if input.has_ndim {
                let _ = writeln!(list, "    const __grid_constant__ int {name}_ndim,");
            }
        }
        let _ = write!(list, "    {}* out", kind(self.kind));
        list
    }
}

/// A text without what no compiler needs: MLX copies all of it for each use, and computes its hash.
pub fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.split_once("//").map_or(line, |(code, _)| code).trim();
        if !line.is_empty() {
            bare.extend([line, "\n"]);
        }
    }
    bare
}

/// All of it or nothing, whoever writes the same at the same time.
fn write(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = place.with_extension(format!("unfinished-{}", process::id()));
    let written = File::create(&unfinished).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.and_then(|()| fs::rename(&unfinished, place)).inspect_err(|_| {
        // It may not be there.
        let _ = fs::remove_file(&unfinished);
    })
}

/// `std::hash` of a text, as GCC's library computes it on machines with 64 bits: `MurmurHash64A` with that library's seed.
fn hash(text: &[u8]) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SEED: u64 = 0xc70f_6907;
    let mixed = |value: u64| value ^ (value >> 47);
    let mut hash = SEED ^ (text.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        let word = mixed(u64::from_le_bytes(*word).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
        hash = (hash ^ word).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    mixed(mixed(hash).wrapping_mul(FACTOR))
}

#[cfg(test)]
#[path = "own_tests.rs"]
mod tests;
