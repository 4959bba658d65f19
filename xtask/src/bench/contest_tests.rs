use std::cell::RefCell;
use std::rc::Rc;

use super::*;

/// Writes down who was asked for what.
struct Scripted {
    name: &'static str,
    slow: bool,
    /// Most tokens that it gives.
    gives: u32,
    asked: Rc<RefCell<Vec<String>>>,
}

impl Candidate for Scripted {
    fn name(&self) -> String {
        self.name.into()
    }

    fn load(&mut self) -> Result<f64> {
        self.asked.borrow_mut().push(format!("{} load", self.name));
        Ok(5.0)
    }

    fn generate(&mut self, prompt: &str, tokens: u32) -> Result<Generation> {
        let round = prompt.split('.').next().unwrap_or_default();
        self.asked.borrow_mut().push(format!("{} {tokens} in {round}", self.name));
        Ok(Generation {
            prompt_tokens: prompt.len() as u32,
            tokens: tokens.min(self.gives),
            first_token_ms: 1.0,
            prefill_tokens_per_s: 2.0,
            decode_tokens_per_s: 3.0,
            answer: Vec::new(),
        })
    }

    fn is_slow(&self) -> bool {
        self.slow
    }
}

const PLAN: Plan = Plan { rounds: 2, tokens: 9, slow_rounds: 1, slow_tokens: 3 };

fn check(first_gives: u32) -> (Result<()>, Vec<String>, [Figures; 2]) {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let standing = |name, slow, gives| Standing::new(Scripted { name, slow, gives, asked: Rc::clone(&asked) });
    let mut first = standing("a", false, first_gives);
    let mut others = [standing("b", true, 99)];
    let result = run(&PLAN, &mut first, &mut others, &Interrupt::never());
    let [other] = others;
    let asked = asked.borrow().clone();
    (result, asked, [first.figures, other.figures])
}

#[test]
fn candidates_take_turns_and_the_order_turns_around() {
    let (result, asked, [first, slow]) = check(99);
    result.unwrap();
    let once = ["a load", "b load", "a 9 in 1", "b 3 in 1", "a 1 in 1", "a load", "a 9 in 2", "a 1 in 2"];
    assert_eq!(asked, once);
    assert_eq!(first.load_ms, [5.0, 5.0].into_iter().collect());
    assert_eq!(first.prefill_tokens_per_s, [2.0, 2.0].into_iter().collect());
    assert_eq!((slow.decode_tokens_per_s.median(), slow.prefill_tokens_per_s.median()), (Some(3.0), None));
}

#[test]
fn an_answer_that_ends_early_is_no_figure() {
    let (result, _, [first, _]) = check(4);
    assert_eq!(result.unwrap_err().to_string(), "a ended its answer after 4 of 9 tokens");
    assert_eq!(first.decode_tokens_per_s.median(), None);
}
