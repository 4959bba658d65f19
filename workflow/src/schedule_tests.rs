use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The next times after one, in a zone, as `2026-03-29T03:00+02:00`.
fn next(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let cron = Cron::new(cron).unwrap_or_else(|error| panic!("{cron}: {error}"));
    let zone = TimeZone::get(zone).unwrap();
    let mut time: Timestamp = after.parse().unwrap();
    let times = std::iter::repeat_with(|| {
        let next = cron.next(time, &zone).expect("there is a next");
        assert!(next > time, "{next} comes after {time}");
        time = next;
        next.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M%:z").to_string()
    });
    times.take(count).collect()
}

#[track_caller]
fn utc(cron: &str, after: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|time| format!("{time}+00:00")).collect();
    assert_eq!(next(cron, "UTC", after, expected.len()), expected, "{cron} after {after}");
}

#[track_caller]
fn berlin(cron: &str, after: &str, expected: &[&str]) {
    assert_eq!(next(cron, "Europe/Berlin", after, expected.len()), expected, "{cron} after {after}");
}

#[test]
fn fields_are_those_of_crontab() {
    let monday = "2026-11-30T12:00:00Z";
    utc("* * * * *", "2026-11-30T12:00:59.9Z", &["2026-11-30T12:01", "2026-11-30T12:02"]);
    utc("*/5 * * * *", "2026-11-30T12:03:00Z", &["2026-11-30T12:05", "2026-11-30T12:10"]);
    utc("*/25 * * * *", monday, &["2026-11-30T12:25", "2026-11-30T12:50", "2026-11-30T13:00"]);
    utc("0 7 * * 1-5", "2026-11-27T08:00:00Z", &["2026-11-30T07:00", "2026-12-01T07:00"]);
    utc("0 7 * * mon-FRI", "2026-11-27T08:00:00Z", &["2026-11-30T07:00", "2026-12-01T07:00"]);
    utc("15,45 9-10 * * *", monday, &["2026-12-01T09:15", "2026-12-01T09:45", "2026-12-01T10:15", "2026-12-01T10:45"]);
    utc(
        "10-20/5 0 1 jan,Jul *",
        monday,
        &["2027-01-01T00:10", "2027-01-01T00:15", "2027-01-01T00:20", "2027-07-01T00:10"],
    );
    utc("0 0 31 * *", monday, &["2026-12-31T00:00", "2027-01-31T00:00", "2027-03-31T00:00"]);
    utc("59 23 31 12 *", monday, &["2026-12-31T23:59", "2027-12-31T23:59"]);
    utc("  0\t12  *  *  * ", monday, &["2026-12-01T12:00"]);
}

#[test]
fn sunday_is_0_and_7() {
    for sunday in ["0", "7", "sun", "SUN", "0,7", "sat-sun"] {
        let times = next(&format!("0 0 * * {sunday}"), "UTC", "2026-12-05T12:00:00Z", 1);
        assert_eq!(times, ["2026-12-06T00:00+00:00"], "{sunday}");
    }
    utc(
        "0 0 * * 5-7",
        "2026-12-03T12:00:00Z",
        &["2026-12-04T00:00", "2026-12-05T00:00", "2026-12-06T00:00", "2026-12-11T00:00"],
    );
}

#[test]
fn the_29th_of_february_comes_in_leap_years() {
    utc("0 0 29 2 *", "2026-01-01T00:00:00Z", &["2028-02-29T00:00", "2032-02-29T00:00"]);
    utc("0 0 29 2 *", "2096-03-01T00:00:00Z", &["2104-02-29T00:00"]);
    utc("0 0 29 2 */7", "2026-01-01T00:00:00Z", &["2032-02-29T00:00"]);
}

#[test]
fn day_of_month_or_day_of_week_where_both_are_restricted() {
    let after = "2026-11-01T00:00:00Z";
    utc(
        "0 0 13 * 5",
        after,
        &[
            "2026-11-06T00:00",
            "2026-11-13T00:00",
            "2026-11-20T00:00",
            "2026-11-27T00:00",
            "2026-12-04T00:00",
            "2026-12-11T00:00",
            "2026-12-13T00:00",
        ],
    );
    utc("0 0 13 * *", after, &["2026-11-13T00:00", "2026-12-13T00:00"]);
    utc("0 0 * * 5", after, &["2026-11-06T00:00", "2026-11-13T00:00"]);
    // A star with steps counts as one, as in every cron.
    utc("0 0 */2 * 5", after, &["2026-11-13T00:00", "2026-11-27T00:00"]);
    utc("0 0 1-31/2 * 5", after, &["2026-11-03T00:00", "2026-11-05T00:00", "2026-11-06T00:00"]);
}

#[test]
fn a_time_that_the_clock_jumps_over_is_had_once_when_it_has() {
    // In Berlin the clock goes from 02:00 to 03:00 on 2026-03-29.
    berlin(
        "30 2 * * *",
        "2026-03-28T00:00:00Z",
        &["2026-03-28T02:30+01:00", "2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"],
    );
    berlin("0,30 2 29 3 *", "2026-03-28T00:00:00Z", &["2026-03-29T03:00+02:00", "2027-03-29T02:00+02:00"]);
    // Asked behind the jump, it is over.
    berlin("30 2 * * *", "2026-03-29T01:10:00Z", &["2026-03-30T02:30+02:00"]);
    berlin("0 3 * * *", "2026-03-29T00:59:00Z", &["2026-03-29T03:00+02:00", "2026-03-30T03:00+02:00"]);
    berlin(
        "*/30 * * * *",
        "2026-03-29T00:20:00Z",
        &["2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00"],
    );
    berlin("30 * * * *", "2026-03-29T00:20:00Z", &["2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00"]);
    berlin("*/20 2 * * *", "2026-03-28T12:00:00Z", &["2026-03-30T02:00+02:00"]);
}

#[test]
fn a_time_that_comes_twice_is_had_the_first_time() {
    // In Berlin the clock goes from 03:00 to 02:00 on 2026-10-25.
    berlin("30 2 * * *", "2026-10-24T12:00:00Z", &["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]);
    // Asked between the two, and in the second hour.
    berlin("30 2 * * *", "2026-10-25T00:45:00Z", &["2026-10-26T02:30+01:00"]);
    berlin("30 2 * * *", "2026-10-25T01:10:00Z", &["2026-10-26T02:30+01:00"]);
    berlin("0 3 * * *", "2026-10-25T00:30:00Z", &["2026-10-25T03:00+01:00"]);
    // What follows the clock stays regular.
    berlin(
        "*/30 * * * *",
        "2026-10-25T00:10:00Z",
        &["2026-10-25T02:30+02:00", "2026-10-25T02:00+01:00", "2026-10-25T02:30+01:00", "2026-10-25T03:00+01:00"],
    );
    berlin(
        "15 * * * *",
        "2026-10-25T00:00:00Z",
        &["2026-10-25T02:15+02:00", "2026-10-25T02:15+01:00", "2026-10-25T03:15+01:00"],
    );
}

#[test]
fn odd_zones_have_their_times_too() {
    assert_eq!(next("0 7 * * *", "Asia/Kathmandu", "2026-11-30T00:00:00Z", 1), ["2026-11-30T07:00+05:45"]);
    // Half an hour is gone there on 2026-10-04.
    assert_eq!(
        next("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 2),
        ["2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"]
    );
    // There was no 2011-12-30 in Apia.
    assert_eq!(
        next("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 2),
        ["2011-12-29T12:00-10:00", "2011-12-31T00:00+14:00"]
    );
}

#[test]
fn every_is_counted_from_1970() {
    let next = |seconds, after: &str| {
        let when = When::Every(Duration::from_secs(seconds));
        when.next(after.parse().unwrap(), &TimeZone::UTC).map(|time| time.to_string())
    };
    assert_eq!(next(3600, "2026-11-30T12:34:56Z").as_deref(), Some("2026-11-30T13:00:00Z"));
    assert_eq!(next(3600, "2026-11-30T13:00:00Z").as_deref(), Some("2026-11-30T14:00:00Z"));
    assert_eq!(next(90, "2026-11-30T12:00:00.5Z").as_deref(), Some("2026-11-30T12:01:30Z"));
    assert_eq!(next(60, "1969-12-31T23:59:30Z").as_deref(), Some("1970-01-01T00:00:00Z"));
    assert_eq!(next(0, "2026-11-30T12:00:00Z"), None);
    assert_eq!(next(u64::MAX, "2026-11-30T12:00:00Z"), None);
}

#[test]
fn what_is_wrong_is_said_with_the_way_out() {
    for (cron, expected) in [
        (
            "",
            "cron has five fields, not 0: minute, hour, day of the month, month and day of the week, as \"0 7 * * 1-5\"",
        ),
        ("* * * *", "cron has five fields, not 4"),
        ("0 0 0 * * *", "cron has five fields, not 6"),
        ("@daily", "cron has five fields, not 1"),
        ("60 * * * *", "the minute `60` is none: 0 to 59 can be"),
        ("* 24 * * *", "the hour `24` is none: 0 to 23 can be"),
        ("* * 0 * *", "the day of the month `0` is none: 1 to 31 can be"),
        ("* * * 13 *", "the month `13` is none: 1 to 12 or jan to dec can be"),
        ("* * * * 8", "the day of the week `8` is none: 0 to 7 or sun to sat can be"),
        ("* * * * mno", "the day of the week `mno` is none: 0 to 7 or sun to sat can be; did you mean mon?"),
        ("* * * july *", "the month `july` is none: 1 to 12 or jan to dec can be; did you mean jul?"),
        ("*/0 * * * *", "the minute steps by `0`; 1 to 59 can be"),
        ("*/x * * * *", "the minute steps by `x`; 1 to 59 can be"),
        ("5/15 * * * *", "the minute `5/15` has steps of no range; write 5-59/… or */…"),
        ("* 22-2 * * *", "the hour `22-2` ends before it begins; write 22-23,0-2"),
        ("1,,2 * * * *", "the minute `` is none"),
        ("-1 * * * *", "the minute `` is none"),
        ("0 0 30 2 *", "`0 0 30 2 *` never comes: no such month has such a day"),
        ("0 0 31 4,6 *", "`0 0 31 4,6 *` never comes"),
    ] {
        let error = Cron::new(cron).unwrap_err();
        assert!(error.starts_with(expected), "{cron}: {error}");
    }
    assert!(Cron::new("0 0 30 2 mon").is_ok(), "the day of the week comes by itself");
}

/// Some numbers of a field, none for all.
fn some(range: std::ops::RangeInclusive<i8>) -> impl Strategy<Value = BTreeSet<i8>> {
    prop::collection::btree_set(range, 0..4)
}

fn written(numbers: &BTreeSet<i8>) -> String {
    let each: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    if each.is_empty() { "*".into() } else { each.join(",") }
}

proptest! {
    #[test]
    fn the_next_time_is_the_first_that_fits(
        (minutes, hours, days, weekdays) in (some(0..=59), some(0..=23), some(1..=28), some(0..=6)),
        after in 1_700_000_000_i64..1_900_000_000,
    ) {
        let fields = [&minutes, &hours, &days, &BTreeSet::new(), &weekdays].map(written).join(" ");
        let after = Timestamp::from_second(after).unwrap();
        let next = Cron::new(&fields).unwrap().next(after, &TimeZone::UTC).unwrap();
        let is_in = |numbers: &BTreeSet<i8>, number| numbers.is_empty() || numbers.contains(&number);
        let fits = |time: DateTime| {
            let (day, weekday) = (time.day(), time.weekday().to_sunday_zero_offset());
            let is_day = if days.is_empty() || weekdays.is_empty() {
                is_in(&days, day) && is_in(&weekdays, weekday)
            } else {
                days.contains(&day) || weekdays.contains(&weekday)
            };
            is_in(&minutes, time.minute()) && is_in(&hours, time.hour()) && is_day
        };
        let mut minute = minute_after(TimeZone::UTC.to_datetime(after)).unwrap();
        while !fits(minute) {
            minute = minute.checked_add(1.minute()).unwrap();
        }
        prop_assert_eq!(TimeZone::UTC.to_datetime(next), minute, "{} after {}", fields, after);
    }
}
