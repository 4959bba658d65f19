//! What keeps files of watched folders from starting runs, for who asks: the looks at folders say it, `workflows.list` tells it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::look::Spec;

/// Words, by folder. Those of a folder are what its last look found.
#[derive(Debug, Clone, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<Spec, Vec<String>>>>);

impl Troubles {
    /// What was found at a look.
    pub fn tell(&self, spec: &Spec, words: Vec<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if words.is_empty() {
            all.remove(spec);
        } else {
            all.insert(spec.clone(), words);
        }
    }

    /// Forgets those of all folders but these.
    pub fn keep(&self, is_kept: impl Fn(&Spec) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|spec, _| is_kept(spec));
    }

    /// All of a workflow.
    pub fn of(&self, workflow: &str) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|(spec, _)| spec.workflow == workflow).flat_map(|(_, words)| words.clone()).collect()
    }
}
