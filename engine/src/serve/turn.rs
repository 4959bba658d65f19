//! One turn of the loop: pieces of prompts and texts, then a token of each sequence that is that far.

use std::io::{self, Write};

use super::Engine;
use super::choice::{self, Budget, Rows, Want};
use super::task::{Kind, Task, is_stop};
use crate::backend::{Backend, Pace, Step};
use crate::message::{Event, Failure, FinishReason, SequenceId};

/// One row of a batch.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// The place of its task.
    task: usize,
    /// Its number among the samples of that.
    sample: u32,
}

impl<B: Backend, W: Write> Engine<B, W> {
    /// Serves whoever is to be served next; false when nobody is.
    pub(super) fn turn(&mut self) -> io::Result<bool> {
        let computed = self.pieces()?;
        let Rows { places, holds } = choice::rows(&self.wants(), self.held);
        self.held = if holds { self.held + 1 } else { 0 };
        if places.is_empty() {
            return Ok(computed);
        }
        // Ends are told of after the step, when no place changes any more.
        let mut failed = Vec::new();
        self.tokens(&places, &mut failed)?;
        self.sweep(failed)?;
        Ok(true)
    }

    fn wants(&self) -> Vec<Want> {
        self.tasks.iter().map(|task| (task.priority, task.need())).collect()
    }

    /// Computes pieces of prompts and texts, as many as a turn may; false where nobody wants one.
    fn pieces(&mut self) -> io::Result<bool> {
        let mut budget = Budget::new(self.backend.turn_tokens());
        while let Some((place, pace)) = choice::piece(&self.wants(), self.held, &budget) {
            let Task { sequence, priority, .. } = self.tasks[place];
            let (tokens, failed) = match self.piece(place, pace)? {
                Ok(tokens) => (tokens, Vec::new()),
                Err(failure) => (0, vec![(sequence, failure)]),
            };
            budget.spend(priority, tokens);
            self.sweep(failed)?;
        }
        Ok(!budget.is_whole())
    }

    /// Computes a piece of a prompt or text; how many tokens it had. Of a text that takes several pieces each counts as
    /// all of it.
    fn piece(&mut self, at: usize, pace: Pace) -> io::Result<Result<u32, Failure>> {
        let Self { backend, tasks, .. } = self;
        let task = &mut tasks[at];
        let sequence = task.sequence;
        let computed = match &mut task.kind {
            Kind::Embed(texts) => {
                let tokens = texts.tokens();
                let event = texts.piece(sequence, backend);
                if let Ok(Event::Vector { .. }) = event {
                    task.clock.tick();
                }
                event.map(|event| (tokens, event))
            }
            Kind::Generate(generation) => {
                let before = generation.done;
                let event = generation.piece(pace, backend);
                event.map(|event| (generation.done.saturating_sub(before), event))
            }
        };
        match computed {
            Err(failure) => Ok(Err(failure)),
            Ok((tokens, event)) => {
                self.send(&event)?;
                Ok(Ok(tokens))
            }
        }
    }

    /// A token of each sample of the tasks at these places.
    fn tokens(&mut self, places: &[usize], failed: &mut Vec<(SequenceId, Failure)>) -> io::Result<()> {
        let (rows, steps) = self.decode(places, failed);
        for (row, step) in rows.into_iter().zip(steps) {
            let sequence = self.tasks[row.task].sequence;
            if failed.iter().any(|(failed, _)| *failed == sequence) {
                continue;
            }
            match step {
                Err(failure) => failed.push((sequence, failure)),
                // Of a prompt that was kept as a whole, some say so before their first token.
                Ok(Step::Prefill { .. }) => {}
                Ok(step) => {
                    if let Err(failure) = self.given(row, step)? {
                        failed.push((sequence, failure));
                    }
                }
            }
        }
        Ok(())
    }

    /// Has the backend compute them all together.
    fn decode(
        &mut self,
        places: &[usize],
        failed: &mut Vec<(SequenceId, Failure)>,
    ) -> (Vec<Row>, Vec<Result<Step, Failure>>) {
        let Self { backend, tasks, .. } = self;
        for place in places {
            let task = &mut tasks[*place];
            if let Kind::Generate(generation) = &mut task.kind
                && let Err(failure) = generation.samples.fork(&generation.submission, backend)
            {
                failed.push((task.sequence, failure));
            }
        }
        let mut rows = Vec::new();
        let mut sequences = Vec::new();
        for (place, task) in tasks.iter_mut().enumerate().filter(|(place, _)| places.contains(place)) {
            if let Kind::Generate(generation) = &mut task.kind
                && !failed.iter().any(|(failed, _)| *failed == task.sequence)
            {
                for (sample, sequence) in generation.samples.running() {
                    rows.push(Row { task: place, sample });
                    sequences.push(sequence);
                }
            }
        }
        let steps = if sequences.is_empty() { Vec::new() } else { backend.decode(&mut sequences) };
        (rows, steps)
    }

    /// Tells of a token, and ends its sample where it was the last.
    fn given(&mut self, row: Row, step: Step) -> io::Result<Result<(), Failure>> {
        let Self { backend, tasks, .. } = self;
        let Task { sequence, clock, kind, .. } = &mut tasks[row.task];
        let (Kind::Generate(generation), Step::Token(id) | Step::Last(id)) = (kind, step) else { return Ok(Ok(())) };
        let (sequence, sample) = (*sequence, row.sample);
        clock.tick();
        let submission = &generation.submission;
        let mut events = Vec::new();
        let ended = if is_stop(submission, id) {
            Some(FinishReason::Stop)
        } else {
            let logprobs = match generation.samples.get(sample).map(|sequence| backend.logprobs(sequence)) {
                Some(Ok(logprobs)) => logprobs,
                Some(Err(failure)) => return Ok(Err(failure)),
                None => None,
            };
            events.push(Event::Token { sequence, sample, id, logprobs });
            let count = generation.samples.count(sample);
            match step {
                Step::Last(_) => Some(FinishReason::Stop),
                _ => (count == submission.max_tokens).then_some(FinishReason::Length),
            }
        };
        if let Some(reason) = ended
            && generation.samples.end(sample, reason, backend)
            && submission.samples > 1
        {
            events.push(Event::Ended { sequence, sample, reason });
        }
        for event in events {
            self.send(&event)?;
        }
        Ok(Ok(()))
    }

    /// Tells of those that failed or are done, and lets go of them.
    fn sweep(&mut self, failed: Vec<(SequenceId, Failure)>) -> io::Result<()> {
        let before = self.tasks.len();
        for (sequence, failure) in failed {
            self.tasks.retain(|task| task.sequence != sequence);
            self.send(&Event::Failed { sequence, failure })?;
        }
        while let Some(place) = self.tasks.iter().position(Task::is_done) {
            let finished = self.tasks.remove(place).finished(&self.backend, false);
            self.send(&Event::Finished(finished))?;
        }
        if self.tasks.len() < before {
            self.send(&Event::Memory(self.backend.memory()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
