//! The text of a time.

use std::time::Duration;

/// Renders a time for people, in seconds.
pub fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        // Timeouts of tests and of users who are in a hurry.
        format!("{} s", (time.as_secs_f64() * 10.0).round() / 10.0)
    } else {
        format!("{} s", time.as_secs_f64().round())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people() {
        assert_eq!(seconds(Duration::from_millis(90_400)), "90 s");
        assert_eq!(seconds(Duration::from_millis(333)), "0.3 s");
        assert_eq!(seconds(Duration::from_secs(3)), "3 s");
    }
}
