//! Models: on disk, in memory, and what just happened to one.
//!
//! Called by the commands and by [`super::daemon`].

use anstyle::Style;
use protocol::{KeepAlive, Model, ModelId, ModelList, ModelState, Residency, ResidencyState, Unloaded};

use super::table::{Cell, Table};
use super::{GREEN, NONE, PLAIN, RED, YELLOW, bytes, duration_ms, percent, printable};

/// `models`.
pub fn list(list: &ModelList, width: Option<usize>) -> String {
    if list.models.is_empty() {
        return "no models are installed; `talkiectl catalogue` lists what can be pulled\n".into();
    }
    let mut table = Table::new(&["MODEL", "SIZE", "QUANT", "CONTEXT", "STATE"]);
    for model in &list.models {
        let quantization = model.quantization.map_or(NONE.into(), |packing| format!("{} bit", packing.bits));
        let context = model.context_length.map_or(NONE.into(), |tokens| tokens.to_string());
        let (state, style) = model_state(model);
        let cells = [(&*model.id.0).into(), bytes(model.size).into(), quantization.into(), context.into()];
        table.row(cells.into_iter().chain([Cell::new(state, style)]).collect());
        if let Some(problem) = &model.problem {
            table.note(problem, YELLOW);
        }
    }
    table.render(width)
}

fn model_state(model: &Model) -> (String, Style) {
    match (model.state, &model.residency) {
        (ModelState::Broken, _) => ("broken".into(), RED),
        (ModelState::Gone, _) => ("files gone".into(), YELLOW),
        (ModelState::Partial, _) => ("incomplete".into(), YELLOW),
        (ModelState::Complete, Some(residency)) => (residency_state(residency), GREEN),
        (ModelState::Complete, None) => ("on disk".into(), PLAIN),
    }
}

fn residency_state(residency: &Residency) -> String {
    match residency.state {
        ResidencyState::Loading => format!("loading {}", percent(residency.loaded_share)),
        ResidencyState::Idle => "warm".into(),
        ResidencyState::Busy => "busy".into(),
        ResidencyState::Unloading => "unloading".into(),
    }
}

/// `load`.
pub fn loaded(model: &Model) -> String {
    let id = printable(&model.id.0);
    let Some(residency) = &model.residency else { return format!("{id} is loaded\n") };
    let device = residency.device.as_deref().map_or(String::new(), |device| format!(" on {}", printable(device)));
    let kept = match residency.keep_alive {
        KeepAlive::Forever => "for ever".into(),
        KeepAlive::For(time) => format!("{} after its last request", duration_ms(time.as_millis() as f64)),
    };
    let draft = residency.draft_model.as_ref().map_or(String::new(), |draft| format!(" with {}", printable(&draft.0)));
    let problem = residency.draft_problem.as_deref().map(printable);
    let without = problem.map_or(String::new(), |problem| format!("without its draft {problem}\n"));
    format!("{id} is warm{draft}: {}{device}, kept {kept}\n{without}", bytes(residency.memory_bytes))
}

/// `unload`.
pub fn unloaded(model: &ModelId, unloaded: Unloaded) -> String {
    let model = printable(&model.0);
    if unloaded.unloaded { format!("{model} is unloaded\n") } else { format!("{model} was not in memory\n") }
}

/// `import`.
pub fn imported(model: &Model) -> String {
    format!("{} is installed: {}\n", printable(&model.id.0), bytes(model.size))
}

/// The models of `ps`.
pub fn residents(models: &[Model]) -> Table {
    let mut table = Table::new(&["MODEL", "STATE", "MEMORY", "DEVICE", "RUNNING", "WAITING", "KEPT"]);
    for model in models {
        let Some(residency) = &model.residency else { continue };
        table.row(vec![
            (&*model.id.0).into(),
            Cell::new(residency_state(residency), GREEN),
            bytes(residency.memory_bytes).into(),
            residency.device.as_deref().unwrap_or(NONE).into(),
            running(residency).into(),
            residency.waiting.to_string().into(),
            expiry(residency).into(),
        ]);
        if let Some(draft) = &residency.draft_model {
            table.note(&format!("its draft is {draft}"), PLAIN);
        }
        if let Some(problem) = &residency.draft_problem {
            table.note(&format!("without its draft {problem}"), YELLOW);
        }
    }
    table
}

fn running(residency: &Residency) -> String {
    match residency.paused {
        0 => residency.running.to_string(),
        paused => format!("{} ({paused} paused)", residency.running),
    }
}

fn expiry(residency: &Residency) -> String {
    match (residency.keep_alive, residency.expires_in_ms) {
        (KeepAlive::Forever, _) => "for ever".into(),
        (KeepAlive::For(_), Some(ms)) => duration_ms(ms as f64),
        (KeepAlive::For(time), None) => format!("{} after use", duration_ms(time.as_millis() as f64)),
    }
}
