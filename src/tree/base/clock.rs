//! Times as the tree shows them. Pure state machines take their time as an argument; only the
//! edges call [`now`].

use std::time::{Duration, SystemTime};

pub fn now() -> SystemTime {
    SystemTime::now()
}

/// When the machine started. As the clock of days has it now: it moves where that one is set.
pub fn booted() -> SystemTime {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let up = Duration::new(up.tv_sec.unsigned_abs(), u32::try_from(up.tv_nsec).unwrap_or(0));
    now().checked_sub(up).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// RFC 3339 in UTC with milliseconds: `2026-11-21T05:06:07.089Z`.
pub fn rfc3339(t: SystemTime) -> String {
    match jiff::Timestamp::try_from(t) {
        Ok(ts) => format!("{ts:.3}"),
        Err(_) => "-".into(), // a clock set outside the years -9999 to 9999
    }
}

/// Whole seconds from a time as [`rfc3339`] writes it to `now`; 0 where it is later.
pub fn seconds_since(text: &str, now: SystemTime) -> Option<u64> {
    let then = SystemTime::from(text.parse::<jiff::Timestamp>().ok()?);
    Some(now.duration_since(then).unwrap_or(Duration::ZERO).as_secs())
}

/// Seconds that local clocks are ahead of UTC now.
pub fn east() -> i32 {
    jiff::Zoned::now().offset().seconds()
}

/// Seconds since the Unix epoch; 0 before it.
pub fn epoch(t: SystemTime) -> u64 {
    t.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_z() {
        let t = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_089);
        assert_eq!(rfc3339(t), "2023-11-14T22:13:20.089Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(seconds_since(&rfc3339(t), t + Duration::from_millis(2911)), Some(2));
        assert_eq!(
            (seconds_since(&rfc3339(t), SystemTime::UNIX_EPOCH), seconds_since("-", t)),
            (Some(0), None)
        );
    }
}
