//! NVIDIA's compiler, which MLX's library for CUDA brings into the process. Its functions are those of its manual, "NVRTC".

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::ptr::{null, null_mut};

use libloading::os::unix::{Library, Symbol};

type Program = *mut c_void;
type Texts = *const *const c_char;
type Create = unsafe extern "C" fn(*mut Program, *const c_char, *const c_char, c_int, Texts, Texts) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, Texts) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Bytes = unsafe extern "C" fn(Program, *mut u8) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;

/// What a GPU of this compute capability, such as 9.0, reads; `text` needs no header.
pub fn compile(text: &str, [major, minor]: [usize; 2]) -> io::Result<Vec<u8>> {
    let library = Library::this();
    let compiler = Compiler {
        create: found(&library, "nvrtcCreateProgram")?,
        compile: found(&library, "nvrtcCompileProgram")?,
        code_size: found(&library, "nvrtcGetCUBINSize")?,
        code: found(&library, "nvrtcGetCUBIN")?,
        log_size: found(&library, "nvrtcGetProgramLogSize")?,
        log: found(&library, "nvrtcGetProgramLog")?,
        destroy: found(&library, "nvrtcDestroyProgram")?,
    };
    compiler.run(text, &format!("--gpu-architecture=sm_{major}{minor}"))
}

fn found<F>(library: &Library, name: &str) -> io::Result<Symbol<F>> {
    // SAFETY: `F` is what the manual says of the function, see above.
    unsafe { library.get(name.as_bytes()) }.map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))
}

struct Compiler {
    create: Symbol<Create>,
    compile: Symbol<Compile>,
    code_size: Symbol<Size>,
    code: Symbol<Bytes>,
    log_size: Symbol<Size>,
    log: Symbol<Bytes>,
    destroy: Symbol<Destroy>,
}

impl Compiler {
    fn run(&self, text: &str, option: &str) -> io::Result<Vec<u8>> {
        let (text, option) = (CString::new(text)?, CString::new(option)?);
        let mut program = null_mut();
        // SAFETY: the texts outlive the calls, which copy them; the program is ours until it is destroyed.
        unsafe {
            let name = c"kernel.cu".as_ptr();
            if (self.create)(&raw mut program, text.as_ptr(), name, 0, null(), null()) != 0 {
                return Err(io::Error::other("NVIDIA's compiler does not start"));
            }
            let status = (self.compile)(program, 1, [option.as_ptr()].as_ptr());
            let result = if status == 0 {
                read(program, &self.code_size, &self.code)
            } else {
                let log = read(program, &self.log_size, &self.log).unwrap_or_default();
                Err(io::Error::other(String::from_utf8_lossy(&log).into_owned()))
            };
            (self.destroy)(&raw mut program);
            result
        }
    }
}

/// What one function tells the size of, and another writes.
///
/// # Safety
/// The program exists, and both functions belong together.
unsafe fn read(program: Program, size: &Symbol<Size>, bytes: &Symbol<Bytes>) -> io::Result<Vec<u8>> {
    let mut count = 0;
    // SAFETY: as the caller says; so many bytes are written as were asked for.
    unsafe {
        if size(program, &raw mut count) != 0 {
            return Err(io::Error::other("NVIDIA's compiler tells no size"));
        }
        let mut all = vec![0; count];
        if bytes(program, all.as_mut_ptr()) != 0 {
            return Err(io::Error::other("NVIDIA's compiler gives no result"));
        }
        Ok(all)
    }
}

#[cfg(test)]
#[path = "nvrtc_tests.rs"]
pub(crate) mod tests;
