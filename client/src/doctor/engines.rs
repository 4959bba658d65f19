//! The engines' programs, and where MLX computes.

use std::path::Path;

use protocol::providers::{CANDLE, MLX};
use rustix::fs::Access;

use super::patient::Program;
use super::{Patient, Said, THIS, fine, problem, quoted, warning};

pub fn check(patient: &Patient) -> Said {
    let mut said: Said = patient.engines.iter().filter_map(not_executable).collect();
    let present: Vec<&Program> = patient.engines.iter().filter(|engine| is_executable(&engine.path)).collect();
    if !said.is_empty() {
        return said;
    }
    // The daemon may have been told of others.
    let known = patient.answers().and_then(|answers| answers.providers.as_ref().ok()).map(|providers| {
        let engines = providers.iter().filter(|provider| [MLX, CANDLE].contains(&provider.id.0.as_str()));
        engines.filter(|engine| engine.availability.is_available).count()
    });
    if known.unwrap_or(present.len()) == 0 {
        let looked: Vec<String> = patient.engines.iter().map(|engine| engine.path.display().to_string()).collect();
        let what = format!("no engine is installed, so no model can run: neither {}", looked.join(" nor "));
        return vec![problem(what, "cargo build --release")];
    }
    said.extend(present.iter().filter(|engine| engine.name == "talkied-mlx").filter_map(|engine| mlx(engine)));
    said.extend(present.iter().filter_map(|engine| other_release(engine)));
    if said.is_empty() {
        let words: Vec<String> = present.iter().map(|engine| described(engine)).collect();
        said.push(fine(if words.is_empty() { "talkied has engines elsewhere".into() } else { words.join(", ") }));
    }
    said
}

fn described(engine: &Program) -> String {
    match engine.said.as_deref() {
        Ok("") | Err(_) => engine.name.into(),
        Ok(device) => format!("{} ({device})", engine.name),
    }
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

fn not_executable(engine: &Program) -> Option<super::SaidOne> {
    let is_off = engine.path.is_file() && !is_executable(&engine.path);
    let what = format!("{} is no program that can be run", engine.path.display());
    is_off.then(|| problem(what, format!("chmod +x {}", quoted(&engine.path))))
}

/// An engine that was not installed with this client: talkied may not take it, for what crosses between them changes.
fn other_release(engine: &Program) -> Option<super::SaidOne> {
    let release = engine.release.as_deref().filter(|release| *release != THIS)?;
    let what = format!("{} is {release}, talkiectl {THIS}: both should be of one release", engine.name);
    Some(warning(what, "cargo build --release"))
}

/// What is wrong with MLX: it does not start, or sees no GPU where there always is one.
fn mlx(engine: &Program) -> Option<super::SaidOne> {
    let ask = format!("{} device", quoted(&engine.path));
    match &engine.said {
        Err(why) => Some(problem(format!("MLX's engine does not run here: {why}"), ask)),
        Ok(device) if device == "cpu" && cfg!(all(target_os = "macos", target_arch = "aarch64")) => {
            Some(warning("MLX's engine computes on the processor, though this Mac has a GPU", ask))
        }
        Ok(_) => None,
    }
}
