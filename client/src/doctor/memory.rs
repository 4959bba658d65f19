//! What models do in memory: whether the machine has enough of it, whether they have their drafts, and whether engines keep
//! ending.

use protocol::{LostEngine, Model, Pressure};

use super::{Patient, Said, SaidOne, fine, problem, quoted, warning};
use crate::render::bytes;

/// An engine that ended once may have had a bad day.
const OFTEN: u32 = 2;

pub fn check(patient: &Patient) -> Said {
    let Some(answers) = patient.answers() else {
        return vec![fine("not looked at, for talkied tells of it, which does not answer")];
    };
    let status = match &answers.status {
        Ok(status) => status,
        Err(error) => return vec![problem(format!("talkied cannot tell what it does: {error}"), "talkiectl logs")],
    };
    let mut said: Said = status.lost.iter().filter(|lost| lost.count >= OFTEN).map(ends_often).collect();
    said.extend(status.residents.iter().filter_map(without_draft));
    match status.memory.pressure {
        Pressure::Calm => {}
        Pressure::Soft => said.push(warning(
            "this machine runs short of memory: caches are given back, and background work stands still",
            "talkiectl ps",
        )),
        Pressure::Hard => said.push(problem(
            "this machine has next to no memory left: idle models are unloaded, and new requests are refused",
            "talkiectl ps",
        )),
    }
    if said.is_empty() {
        let pools = status.memory.pools.iter().map(|pool| match pool.budget_bytes {
            0 => format!("models take {}, and may take what they need", bytes(pool.held_bytes)),
            budget => format!("models take {} of the {} that they may", bytes(pool.held_bytes), bytes(budget)),
        });
        said.extend(pools.map(fine));
    }
    said
}

/// A model that runs without the draft that the configuration names.
fn without_draft(model: &Model) -> Option<SaidOne> {
    let problem = model.residency.as_ref()?.draft_problem.as_ref()?;
    let what = format!("{} runs without its draft {problem}", model.id);
    Some(warning(what, "talkiectl config show; talkiectl pull DRAFT"))
}

/// A model whose engine ends again and again.
fn ends_often(lost: &LostEngine) -> SaidOne {
    let LostEngine { model, provider, count, retry_after_ms } = lost;
    let wait = match retry_after_ms {
        0 => "the next request starts it again".to_owned(),
        ms => format!("it is started again in {} s", ms.div_ceil(1000)),
    };
    let what = format!("the engine of {model} ({provider}) ended {count} times in a row; {wait}");
    problem(what, format!("talkiectl logs; talkiectl generate --model {} hello", quoted(&model.0)))
}
