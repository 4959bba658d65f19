//! Times at which workflows start: `cron`, as crontab(5) has it, and `every`.
//!
//! Pure: the time and the time zone are given.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan, Unit};

use crate::problem::{nearest, quote};

/// Days that are looked through for the next time; those that share a 29th of February and a day of the week come again
/// within 40 years.
const MOST_DAYS: usize = 41 * 366;

/// Times.
#[derive(Debug, Clone)]
pub enum When {
    /// By the calendar.
    Cron(Cron),
    /// Whenever such a time has passed, counted from 1970 on, so that a restart shifts nothing.
    Every(Duration),
}

/// Five fields: minute, hour, day of the month, month, day of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    written: String,
    /// A bit for each number that a field allows, in the order of the fields.
    allowed: [u64; 5],
    /// Whether the field begins with a star.
    starred: [bool; 5],
}

struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    /// Of `least` and what follows.
    names: &'static [&'static str],
}

const MINUTE: usize = 0;
const HOUR: usize = 1;
const DAY: usize = 2;
const MONTH: usize = 3;
const WEEKDAY: usize = 4;

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of the month", least: 1, most: 31, names: &[] },
    Field {
        name: "month",
        least: 1,
        most: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    // Sunday is 0 and 7, and ends a range as 7.
    Field { name: "day of the week", least: 0, most: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

impl When {
    /// The first such time after this one; `None` where the calendar ends.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => cron.next(after, zone),
            Self::Every(time) => {
                let seconds = i64::try_from(time.as_secs()).ok().filter(|seconds| *seconds > 0)?;
                Timestamp::from_second((after.as_second().div_euclid(seconds) + 1) * seconds).ok()
            }
        }
    }
}

impl Cron {
    /// Of its five fields; what is wrong with them, in words.
    pub fn new(written: &str) -> Result<Self, String> {
        let parts: Vec<&str> = written.split_whitespace().collect();
        if parts.len() != FIELDS.len() {
            let words = "minute, hour, day of the month, month and day of the week, as \"0 7 * * 1-5\"";
            return Err(format!("cron has five fields, not {}: {words}", parts.len()));
        }
        let mut cron = Self { written: parts.join(" "), allowed: [0; 5], starred: [false; 5] };
        for (index, (part, field)) in parts.iter().zip(&FIELDS).enumerate() {
            cron.allowed[index] = field.bits(part)?;
            cron.starred[index] = part.starts_with('*');
        }
        // Sunday as 7.
        cron.allowed[WEEKDAY] |= cron.allowed[WEEKDAY] >> 7;
        // The first day of the calendar's cycle of 400 years.
        if cron.first_from(DateTime::constant(2000, 1, 1, 0, 0, 0, 0)).is_none() {
            return Err(format!("`{}` never comes: no such month has such a day", cron.written));
        }
        Ok(cron)
    }

    /// As it is written.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The first such time after this one.
    ///
    /// Where clocks are changed: what has a star for minute or hour follows the clock, so that "every five minutes" stays
    /// so. Any other time is had once: one that is skipped when the clock has jumped over it, one that comes twice the first
    /// time.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.starred[MINUTE] || self.starred[HOUR] {
            self.next_of_clock(after, zone)
        } else {
            self.next_of_calendar(after, zone)
        }
    }

    fn next_of_clock(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut from = minute_after(zone.to_datetime(after))?;
        let mut offset = zone.to_offset(after);
        let mut changes = zone.following(after);
        loop {
            let found = self.first_from(from).and_then(|found| offset.to_timestamp(found).ok());
            match changes.next() {
                Some(change) if found.is_none_or(|found| found >= change.timestamp()) => {
                    offset = change.offset();
                    let start = offset.to_datetime(change.timestamp());
                    from = if start.second() == 0 { start } else { minute_after(start)? };
                }
                _ => return found,
            }
        }
    }

    fn next_of_calendar(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut from = minute_after(zone.to_datetime(after))?;
        loop {
            let found = self.first_from(from)?;
            let time = match zone.to_ambiguous_timestamp(found).offset() {
                AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(found).ok()?,
                AmbiguousOffset::Fold { before, .. } => before.to_timestamp(found).ok()?,
                AmbiguousOffset::Gap { before, .. } => {
                    let behind = before.to_timestamp(found).ok()?.checked_add(SignedDuration::from_nanos(1)).ok()?;
                    zone.preceding(behind).next()?.timestamp()
                }
            };
            if time > after {
                return Some(time);
            }
            from = minute_after(found)?;
        }
    }

    /// The first such time of any calendar from this minute on.
    fn first_from(&self, from: DateTime) -> Option<DateTime> {
        let mut start = from.time();
        for date in from.date().series(1.day()).take(MOST_DAYS) {
            if self.has_day(date)
                && let Some(time) = self.first_time(start)
            {
                return Some(date.to_datetime(time));
            }
            start = Time::midnight();
        }
        None
    }

    /// Days of the month and of the week: either will do where both are restricted, as crontab(5) says.
    fn has_day(&self, date: Date) -> bool {
        let is_day = self.has(DAY, date.day());
        let is_weekday = self.has(WEEKDAY, date.weekday().to_sunday_zero_offset());
        let is_either = !self.starred[DAY] && !self.starred[WEEKDAY];
        self.has(MONTH, date.month()) && if is_either { is_day || is_weekday } else { is_day && is_weekday }
    }

    fn first_time(&self, start: Time) -> Option<Time> {
        let hour = (start.hour()..24).find(|hour| self.has(HOUR, *hour) && self.minute_in(*hour, start).is_some())?;
        Time::new(hour, self.minute_in(hour, start)?, 0, 0).ok()
    }

    /// The first minute of an hour that is not before `start`.
    fn minute_in(&self, hour: i8, start: Time) -> Option<i8> {
        let least = if hour == start.hour() { start.minute() } else { 0 };
        (least..60).find(|minute| self.has(MINUTE, *minute))
    }

    fn has(&self, field: usize, number: i8) -> bool {
        self.allowed[field] >> number & 1 == 1
    }
}

/// The full minute that follows.
fn minute_after(time: DateTime) -> Option<DateTime> {
    let minute = jiff::civil::DateTimeRound::new().smallest(Unit::Minute).mode(jiff::RoundMode::Floor);
    time.round(minute).ok()?.checked_add(1.minute()).ok()
}

impl Field {
    fn bits(&self, part: &str) -> Result<u64, String> {
        part.split(',').try_fold(0, |bits, item| Ok(bits | self.item(item)?))
    }

    /// `*`, `5`, `1-5`, `mon-fri`, each range with `/2` behind it.
    fn item(&self, item: &str) -> Result<u64, String> {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((first, last)) => (self.number(first)?, self.last(last)?),
            None if step.is_some() => {
                let (name, most) = (self.name, self.most);
                let first = self.number(range)?;
                return Err(format!("the {name} `{item}` has steps of no range; write {first}-{most}/… or */…"));
            }
            None => (self.number(range)?, self.number(range)?),
        };
        if first > last {
            let words = format!("write {first}-{},{}-{last}", self.most, self.least);
            return Err(format!("the {} `{item}` ends before it begins; {words}", self.name));
        }
        let step = match step.map(|step| (step, step.parse::<u8>())) {
            None => 1,
            Some((_, Ok(step))) if (1..=self.most).contains(&step) => step,
            Some((step, _)) => {
                return Err(format!("the {} steps by `{}`; 1 to {} can be", self.name, quote(step), self.most));
            }
        };
        Ok((first..=last).step_by(step.into()).fold(0, |bits, number| bits | 1 << number))
    }

    fn last(&self, written: &str) -> Result<u8, String> {
        let is_sunday = self.most == 7 && written.eq_ignore_ascii_case("sun");
        if is_sunday { Ok(7) } else { self.number(written) }
    }

    fn number(&self, written: &str) -> Result<u8, String> {
        let name = self.names.iter().position(|name| name.eq_ignore_ascii_case(written));
        if let Some(index) = name {
            return Ok(self.least + index as u8);
        }
        let number = written.parse::<u8>().ok().filter(|number| (self.least..=self.most).contains(number));
        number.ok_or_else(|| {
            let meant = nearest(written, self.names.iter().copied());
            let meant = meant.map_or(String::new(), |meant| format!("; did you mean {meant}?"));
            let names = self.names.first().zip(self.names.last());
            let names = names.map_or(String::new(), |(first, last)| format!(" or {first} to {last}"));
            let (name, least, most) = (self.name, self.least, self.most);
            format!("the {name} `{}` is none: {least} to {most}{names} can be{meant}", quote(written))
        })
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
