//! How long did each of many take?

use std::time::Duration;

/// How long each of a kind took.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What so many of a hundred took at most; nothing where there is none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut took = self.0.clone();
        took.sort_unstable();
        took.get((took.len() * percent / 100).min(took.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Those up to so long, and the others.
    pub fn split(self, at: Duration) -> (Self, Self) {
        let (short, long) = self.0.into_iter().partition(|took| *took <= at);
        (Self(short), Self(long))
    }

    /// Half of them, ninety-nine of a hundred, and all.
    pub fn text(&self) -> String {
        let [half, most, all] = [50, 99, 100].map(|percent| self.percentile(percent).as_millis());
        format!("{half} ms (p50), {most} ms (p99), {all} ms at most")
    }
}
