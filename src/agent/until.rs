//! An agent's own words for when a limit ends, as a point in time.
//!
//! Pure but for the system's table of time zones. Knows English as agents write it; must not know
//! any agent. What it does not understand has no time.

use std::time::{Duration, SystemTime};

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp, Zoned};

/// A clock time that is past by less is not tomorrow's: the notice still stands.
const STALE: Duration = Duration::from_secs(3600);
/// No limit lasts longer.
const LONGEST: f64 = 400.0 * 86_400.0;

/// When `words` end: "59m 58s", "in 8.0 seconds", "7:02am (UTC)", "Nov 25, 7am". Clock times
/// without a zone are of the one `east` seconds east of Greenwich.
pub fn until(words: &str, now: SystemTime, east: i32) -> Option<SystemTime> {
    let words = words.trim().trim_end_matches(['.', ',']).trim();
    if words.len() > 100 {
        return None;
    }
    if let Ok(at) = words.parse::<Timestamp>() {
        return Some(at.into());
    }
    if let Some(span) = span(words) {
        return now.checked_add(span);
    }
    let local = TimeZone::fixed(Offset::from_seconds(east).ok()?);
    let (words, zone) = zoned(words, local)?;
    let now = Timestamp::try_from(now).ok()?.to_zoned(zone.clone());
    clock(&words, &now).map(|at| at.timestamp().into())
}

/// `in 3 days 4 hours`, `59m 58s`, `1h5m`, `8.0 seconds`.
fn span(words: &str) -> Option<Duration> {
    let lower = words.to_ascii_lowercase();
    let mut rest = lower.strip_prefix("in ").unwrap_or(&lower).trim();
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => 0.001,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86_400.0,
            "w" | "week" | "weeks" => 604_800.0,
            _ => return None,
        };
        seconds += number * unit;
        rest = rest[letters..].trim_start_matches([' ', ',']);
        rest = rest.strip_prefix("and ").unwrap_or(rest);
    }
    (!lower.is_empty() && seconds <= LONGEST).then(|| Duration::from_secs_f64(seconds))
}

/// Without its zone, and the zone.
fn zoned(words: &str, local: TimeZone) -> Option<(String, TimeZone)> {
    let (rest, name) = match words.split_once('(') {
        Some((rest, name)) => (rest, name.strip_suffix(')')?),
        None => match words.rsplit_once(' ') {
            Some((rest, name @ ("UTC" | "GMT" | "Z"))) => (rest, name),
            _ => return Some((words.to_owned(), local)),
        },
    };
    let zone = match name {
        "UTC" | "GMT" | "Z" => TimeZone::UTC,
        name => TimeZone::get(name).ok()?,
    };
    Some((rest.trim().to_owned(), zone))
}

/// A time of day, with or without a day before it.
fn clock(words: &str, now: &Zoned) -> Option<Zoned> {
    let lower = words.to_ascii_lowercase().replace(',', " ");
    let mut words: Vec<&str> = lower.split_whitespace().filter(|w| !matches!(*w, "at" | "on")).collect();
    // `7:02 am` is two words.
    let half = words.last().copied().filter(|w| matches!(*w, "am" | "pm"));
    if half.is_some() {
        words.pop();
    }
    let time = time(&format!("{}{}", words.pop()?, half.unwrap_or("")))?;
    let of = |date: Date| DateTime::from_parts(date, time).to_zoned(now.time_zone().clone()).ok();
    let today = now.date();
    let ahead = |days: i64| today.checked_add(Span::new().try_days(days).ok()?).ok();
    let gone = |at: &Zoned| {
        now.timestamp().as_duration() - at.timestamp().as_duration()
            > jiff::SignedDuration::try_from(STALE).unwrap_or_default()
    };
    let or_later = |first: Date, later: Option<Date>| {
        let at = of(first)?;
        if gone(&at) { of(later?) } else { Some(at) }
    };
    match words[..] {
        [] => or_later(today, ahead(1)),
        ["today"] => of(today),
        ["tomorrow"] => of(ahead(1)?),
        [day] => {
            let days = i64::from(today.weekday().until(weekday(day)?));
            or_later(ahead(days)?, ahead(days + 7))
        }
        [month, day] => {
            let date = |year: i16| Date::new(year, month_of(month)?, number(day)?).ok();
            or_later(date(today.year())?, date(today.year() + 1))
        }
        [month, day, year] => of(Date::new(year.parse().ok()?, month_of(month)?, number(day)?).ok()?),
        _ => None,
    }
}

/// `7am`, `7:02am`, `19:02`, `19:02:30`.
fn time(word: &str) -> Option<Time> {
    let (digits, half) = match word.strip_suffix("am") {
        Some(digits) => (digits, Some(0)),
        None => word.strip_suffix("pm").map_or((word, None), |digits| (digits, Some(12))),
    };
    let parts: Vec<i8> = digits.split(':').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let (hour, minute, second) = match (&parts[..], half) {
        ([h], Some(_)) => (*h, 0, 0),
        ([h, m], _) => (*h, *m, 0),
        ([h, m, s], _) => (*h, *m, *s),
        _ => return None,
    };
    let hour = match half {
        Some(half) if (1..=12).contains(&hour) => hour % 12 + half,
        Some(_) => return None,
        None => hour,
    };
    Time::new(hour, minute, second, 0).ok()
}

/// `25`, `25th`.
fn number(word: &str) -> Option<i8> {
    word.trim_end_matches(|c: char| c.is_ascii_lowercase()).parse().ok()
}

fn month_of(word: &str) -> Option<i8> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let at = MONTHS.iter().position(|m| word.starts_with(m) && word.len() <= 9)?;
    i8::try_from(at + 1).ok()
}

fn weekday(word: &str) -> Option<Weekday> {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let at = DAYS.iter().position(|d| word.starts_with(d) && word.len() <= 9)?;
    Weekday::from_monday_zero_offset(i8::try_from(at).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 21 November 2026, a Saturday, 04:10 UTC.
    const NOW: &str = "2026-11-21T04:10:00Z";

    fn at(words: &str, now: &str, east: i32) -> Option<String> {
        let now: Timestamp = now.parse().unwrap();
        until(words, now.into(), east).map(|t| Timestamp::try_from(t).unwrap().to_string())
    }

    #[test]
    fn agents_words_are_points_in_time() {
        for (words, wanted) in [
            ("7:02am (UTC)", "2026-11-21T07:02:00Z"),
            ("7am (UTC)", "2026-11-21T07:00:00Z"),
            ("59m 58s", "2026-11-21T05:09:58Z"),
            ("18s", "2026-11-21T04:10:18Z"),
            ("in 8.0 seconds", "2026-11-21T04:10:08Z"),
            ("0.5 seconds", "2026-11-21T04:10:00.5Z"),
            ("1h5m", "2026-11-21T05:15:00Z"),
            ("3 days 4 hours 5 minutes", "2026-11-24T08:15:00Z"),
            ("1 hour, 2 minutes and 3 seconds", "2026-11-21T05:12:03Z"),
            ("Nov 25, 7am (UTC)", "2026-11-25T07:00:00Z"),
            ("Nov 25th, 2026 7:02 AM", "2026-11-25T07:02:00Z"),
            ("January 3rd at 12am", "2027-01-03T00:00:00Z"),
            ("tomorrow at 12:30pm", "2026-11-22T12:30:00Z"),
            ("Mon 9am", "2026-11-23T09:00:00Z"),
            ("Saturday 3:00am", "2026-11-28T03:00:00Z"),
            ("3:30am", "2026-11-21T03:30:00Z"),
            ("3:00am", "2026-11-22T03:00:00Z"),
            ("19:02", "2026-11-21T19:02:00Z"),
            ("2026-11-21T09:00:00+02:00", "2026-11-21T07:00:00Z"),
        ] {
            assert_eq!(at(words, NOW, 0).as_deref(), Some(wanted), "{words}");
        }
    }

    #[test]
    fn zones_and_midnight() {
        // 23:10 the evening before, five hours west.
        assert_eq!(at("7:02 AM.", NOW, -5 * 3600).unwrap(), "2026-11-21T12:02:00Z");
        assert_eq!(at("11:30 PM", NOW, -5 * 3600).unwrap(), "2026-11-21T04:30:00Z");
        assert_eq!(at("7:02am (UTC)", NOW, -5 * 3600).unwrap(), "2026-11-21T07:02:00Z");
        assert_eq!(at("12:15am", "2026-11-21T23:50:00Z", 0).unwrap(), "2026-11-22T00:15:00Z");
        assert_eq!(at("Dec 31, 11pm", "2027-01-01T00:10:00Z", 0).unwrap(), "2027-12-31T23:00:00Z");
    }

    #[test]
    fn what_is_not_understood_has_no_time() {
        for words in [
            "",
            "soon",
            "later today",
            "7",
            "25:00",
            "13pm",
            "0am",
            "7:61am",
            "in",
            "5 parsecs",
            "5",
            "Nov 31, 7am",
            "Foo 3, 7am",
            "7am (Nowhere/Atlantis)",
            "99999999999999 days",
            "1.2.3 seconds",
            "7am (UTC",
            "-5 minutes",
            "Nov 25",
            "..",
            "\u{ff17}am",
        ] {
            assert_eq!(at(words, NOW, 0), None, "{words:?}");
        }
        assert_eq!(at(&"1s ".repeat(1000), NOW, 0), None);
        assert_eq!(at("7am", NOW, i32::MAX), None);
    }
}
