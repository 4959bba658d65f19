//! Whether a grammar has any text that comes to an end: rules may need one another for ever.

use std::collections::HashSet;

use llguidance::earley::{CGrammar, CSymIdx};

/// Whether some text can be derived from the start. That each terminal has a text is taken for granted.
pub(super) fn comes_to_one(grammar: &CGrammar) -> bool {
    let symbols = reachable(grammar);
    let mut ending: HashSet<CSymIdx> = HashSet::new();
    loop {
        let before = ending.len();
        // Backwards, since rules mostly name what is found after them: then one pass is enough.
        for symbol in symbols.iter().rev() {
            if ends(grammar, *symbol, &ending) {
                ending.insert(*symbol);
            }
        }
        if ending.len() == before {
            return ending.contains(&grammar.start());
        }
    }
}

fn ends(grammar: &CGrammar, symbol: CSymIdx, ending: &HashSet<CSymIdx>) -> bool {
    let data = grammar.sym_data(symbol);
    let alone = data.is_terminal || data.is_nullable || !data.cond_nullable.is_empty() || data.gen_grammar.is_some();
    alone
        || grammar
            .rules_of(symbol)
            .iter()
            .any(|rule| grammar.rule_rhs(*rule).0.iter().all(|part| ending.contains(part)))
}

/// The symbols that the start leads to, in the order they are found.
fn reachable(grammar: &CGrammar) -> Vec<CSymIdx> {
    let mut symbols = vec![grammar.start()];
    let mut seen: HashSet<CSymIdx> = symbols.iter().copied().collect();
    let mut next = 0;
    while let Some(symbol) = symbols.get(next).copied() {
        let parts = grammar.rules_of(symbol).iter().flat_map(|rule| grammar.rule_rhs(*rule).0);
        symbols.extend(parts.copied().filter(|part| seen.insert(*part)));
        next += 1;
    }
    symbols
}
