//! What is written where MLX looks, and under which name.

use std::io::ErrorKind;

use tempfile::TempDir;

use super::*;

const INPUTS: [Input; 3] = [
    Input { has_shape: true, has_ndim: true, ..Input::bare("x") },
    Input { kind: Some("uint32_t"), ..Input::bare("y") },
    Input { has_shape: true, has_strides: true, ..Input::bare("z") },
];

fn own() -> Own {
    Own {
        name: "twice".into(),
        header: "constexpr int BY = 2;\n".into(),
        body: "  out[threadIdx.x] = BY * x[threadIdx.x] + x_shape[0] + x_ndim + y[0] + z_shape[0] + z_strides[0];"
            .into(),
        inputs: &INPUTS,
        kind: "__half",
    }
}

/// By `std::hash<std::string>` of GCC 12 on x86-64.
#[test]
fn texts_have_the_hash_of_gccs_library() {
    let known: [(&[u8], u64); 6] = [
        (b"", 0x553e_9390_1e46_2a6e),
        (b"a", 0x454d_dee4_88c1_ed6b),
        (b"12345678", 0x8c5b_90a3_3a04_dca5),
        (b"custom_kernel", 0x0fb1_53b5_eb72_1449),
        (b"The quick brown fox jumps over the lazy dog\n", 0x5a3c_4fb0_e515_82c8),
        (b"\xff\x80\x01zz", 0xd30a_d8d7_0a68_bd75),
    ];
    for (text, expected) in known {
        assert_eq!(hash(text), expected, "{text:?}");
    }
}

#[test]
fn the_text_is_the_one_that_mlx_makes() {
    let expected = r#"
#include "mlx/backend/cuda/device/utils.cuh"

#include <cooperative_groups.h>

constexpr int BY = 2;
namespace mlx::core::cu {

namespace cg = cooperative_groups;

__global__ void custom_kernel_twice(
    const __half* x,
    const __grid_constant__ Shape x_shape,
    const __grid_constant__ int x_ndim,
    const uint32_t* y,
    const __half* z,
    const __grid_constant__ Shape z_shape,
    const __grid_constant__ Strides z_strides,
    __half* out) {
  out[threadIdx.x] = BY * x[threadIdx.x] + x_shape[0] + x_ndim + y[0] + z_shape[0] + z_strides[0];
}

} // namespace mlx::core::cu
"#;
    assert_eq!(own().as_mlx_has_it(), expected);
}

#[test]
fn a_kernel_is_compiled_once_and_its_names_are_there_before_it() {
    let folder = TempDir::new().unwrap();
    let within = folder.path().join("not/yet");
    let compiled = |text: &str| {
        assert!(text.contains("extern \"C\" __global__ void custom_kernel_twice(\n    const void* x,"), "{text}");
        Ok(b"code".to_vec())
    };
    own().put_into(&within, compiled).unwrap();
    let mut files: Vec<_> = fs::read_dir(&within).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let [code, names] = <[PathBuf; 2]>::try_from(files).unwrap();
    let hash = hash(own().as_mlx_has_it().as_bytes());
    assert_eq!(code.file_name().unwrap().to_str().unwrap(), format!("custom_kernel_twice_{hash:x}.ptx"));
    assert_eq!(fs::read(&code).unwrap(), b"code");
    assert_eq!(fs::read_to_string(&names).unwrap(), "mlx::core::cu::custom_kernel_twice\tcustom_kernel_twice\n");
    own().put_into(&within, |_| unreachable!("it is there")).unwrap();
    // One whose names are gone is none that MLX can use.
    fs::remove_file(&names).unwrap();
    own().put_into(&within, compiled).unwrap();
    assert!(names.exists());
    // Another text is another kernel.
    let other = Own { header: "constexpr int BY = 3;\n".into(), ..own() };
    let refused = other.put_into(&within, |_| Err(ErrorKind::InvalidData.into()));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(fs::read_dir(&within).unwrap().count(), 2);
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let hash = hash(own().as_mlx_has_it().as_bytes());
    let names = folder.path().join(format!("custom_kernel_twice_{hash:x}.txt"));
    fs::create_dir(&names).unwrap();
    own().put_into(folder.path(), |_| Ok(b"code".to_vec())).unwrap_err();
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [names]);
}
