//! Whose randomness repeats itself? A simulation's, so that what failed can be run again.
//!
//! Compiled with the feature `simulation` only, which the tests of this package have and no program that
//! serves anybody; and silent until a thread asks for it.

use std::cell::RefCell;

thread_local! {
    static SOURCE: RefCell<Option<fastrand::Rng>> = const { RefCell::new(None) };
}

/// From here on the random bytes of this thread follow from `seed`; of `None`, from nothing again.
pub fn seed(seed: Option<u64>) {
    SOURCE.set(seed.map(fastrand::Rng::with_seed));
}

/// Fills `bytes`, if this thread has a seed.
pub(super) fn fill(bytes: &mut [u8]) -> bool {
    SOURCE.with_borrow_mut(|source| source.as_mut().map(|random| random.fill(bytes)).is_some())
}
