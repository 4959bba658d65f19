//! MLX itself: the wheel that fits the machine, unpacked.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::pip::{self, Requirements};
use crate::command;
use crate::error::{Error, Result};
use crate::platform::{Backend, Platform};

/// Fetches MLX and unpacks it into `folder`. The CUDA build comes with NVIDIA's libraries, which it finds beside itself.
pub fn unpack(backend: Backend, version: &str, platform: Platform, folder: &Path) -> Result<()> {
    let package = backend.package();
    let requirements = if backend == Backend::Cuda {
        Requirements::Fetch
    } else {
        Requirements::Leave
    };
    let tag = if platform == Platform::Mac {
        Some(mac_tag(&command::output(
            Command::new("sw_vers").arg("-productVersion"),
        )?)?)
    } else {
        None
    };
    let downloads = folder.with_extension("downloads");
    eprintln!("  fetching {package} {version}");
    let wheels = pip::download(
        &format!("{package}=={version}"),
        requirements,
        tag.as_deref(),
        &downloads,
    )?;
    eprintln!(
        "  unpacking {}",
        if wheels.len() == 1 {
            "it".to_owned()
        } else {
            format!("{} wheels", wheels.len())
        }
    );
    pip::unpack(&wheels, folder)?;
    fs::remove_dir_all(&downloads).map_err(Error::io("remove", &downloads))
}

/// pip's name of a version of macOS; pip then takes the newest wheel that runs on it.
fn mac_tag(product_version: &str) -> Result<String> {
    let major = product_version
        .trim()
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    let major = major
        .ok_or_else(|| Error::Unexpected(format!("`{product_version}` is no version of macOS")))?;
    Ok(format!("macosx_{major}_0_arm64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_that_of_the_running_macos() {
        assert_eq!(mac_tag("14.6.1\n").unwrap(), "macosx_14_0_arm64");
        assert_eq!(mac_tag("26.0").unwrap(), "macosx_26_0_arm64");
        assert!(mac_tag("?").is_err());
    }
}
