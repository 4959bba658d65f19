//! The models on the disk, and whether this machine has the memory for them.

use protocol::{Catalogue, Model, ModelSource, ModelState};

use super::{Patient, Said, SaidOne, fine, problem, quoted, warning};
use crate::render::bytes;

pub fn check(patient: &Patient) -> Said {
    let Some(answers) = patient.answers() else {
        return vec![fine("not looked at, for talkied tells of them, which does not answer")];
    };
    let models = match &answers.models {
        Ok(models) => models,
        Err(error) => return vec![problem(format!("talkied cannot list the models: {error}"), "talkiectl logs")],
    };
    let mut said: Said = models.iter().filter_map(broken).collect();
    match &answers.catalogue {
        Ok(catalogue) => {
            said.extend(models.iter().filter_map(|model| too_large(model, catalogue)));
            let wrong = catalogue.problems.iter();
            said.extend(wrong.map(|wrong| warning(format!("catalogue.toml: {wrong}"), "talkiectl catalogue")));
        }
        Err(error) => said.push(problem(format!("talkied cannot tell of the catalogue: {error}"), "talkiectl logs")),
    }
    match (said.is_empty(), models.len()) {
        (false, _) => said,
        (true, 0) => vec![fine("none is installed; `talkiectl catalogue --fits` lists those that would run here")],
        (true, count) => vec![fine(format!("{count} installed, all of them whole"))],
    }
}

fn broken(model: &Model) -> Option<SaidOne> {
    let why = model.problem.as_deref().unwrap_or("its files are not as they should be");
    let what = format!("{}: {why}", model.id);
    let id = quoted(&model.id.0);
    match model.state {
        ModelState::Complete => None,
        ModelState::Gone => Some(warning(what, format!("talkiectl unload {id}"))),
        ModelState::Partial | ModelState::Broken if model.source == ModelSource::Library => {
            // What did not come from the hub cannot come from there again.
            let mend = if model.revision.is_some() { "pull" } else { "rm" };
            Some(problem(what, format!("talkiectl {mend} {id}")))
        }
        // Another program's, which may be about to download it.
        ModelState::Partial | ModelState::Broken => Some(warning(what, format!("ls -l {}", quoted(&model.path)))),
    }
}

/// A model that needs more than this machine has for one. What the catalogue does not know takes at least its files.
fn too_large(model: &Model, catalogue: &Catalogue) -> Option<SaidOne> {
    let known = catalogue.models.iter().find(|entry| entry.id == model.id).map(|entry| entry.memory_bytes);
    let (needed, has) = (known.unwrap_or(model.size), catalogue.memory_bytes);
    if !model.is_installed || has == 0 || needed <= has {
        return None;
    }
    let what =
        format!("{} takes {} of memory, and this machine has {} for a model", model.id, bytes(needed), bytes(has));
    Some(warning(what, format!("talkiectl catalogue --fits; talkiectl rm {}", quoted(&model.id.0))))
}
