//! Are passwords verified, whole and alike for unknown names, within the bound?

use super::*;

fn pool() -> PasswordPool {
    PasswordPool::default()
}

#[tokio::test]
async fn a_password_is_verified_against_its_hash() {
    let pool = pool();
    let stored = pool.hash("correct horse".into()).await.unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    assert_eq!(pool.verify("correct horse".into(), Some(&stored)).await, Ok(true));
    for wrong in ["Correct horse", "correct horse ", "correct hors", ""] {
        assert_eq!(pool.verify(wrong.into(), Some(&stored)).await, Ok(false));
    }
    assert_ne!(pool.hash("correct horse".into()).await.unwrap(), stored);
}

#[tokio::test]
async fn a_password_is_never_cut() {
    let pool = pool();
    let long = "vxkq".repeat(256);
    let stored = pool.hash(long.as_str().into()).await.unwrap();
    assert_eq!(pool.verify(long.as_str().into(), Some(&stored)).await, Ok(true));
    let cut = &long[..long.len() - 1];
    assert_eq!(pool.verify(cut.into(), Some(&stored)).await, Ok(false));
}

#[tokio::test]
async fn one_password_typed_on_two_keyboards_is_one() {
    let pool = pool();
    let stored = pool.hash("\u{e5}ngstr\u{f6}m".into()).await.unwrap();
    let decomposed = "a\u{30a}ngstro\u{308}m";
    assert_eq!(pool.verify(decomposed.into(), Some(&stored)).await, Ok(true));
}

#[tokio::test]
async fn an_unknown_name_costs_a_verification_and_is_refused() {
    let pool = pool();
    for password in ["", "correct horse"] {
        assert_eq!(pool.verify(password.into(), None).await, Ok(false));
    }
    assert_eq!(pool.verifications(), 2);
}

#[test]
fn the_dummy_costs_what_a_real_hash_costs() {
    let real = hash(&"correct horse".into()).unwrap();
    let cost = |phc: &str| {
        PasswordHash::new(phc).map(|hash| {
            let output = hash.hash.map(|output| output.len());
            (hash.algorithm.to_string(), hash.version, hash.params.to_string(), output)
        })
    };
    assert_eq!(cost(DUMMY).unwrap(), cost(&real).unwrap());
}

#[tokio::test]
async fn a_damaged_hash_is_our_fault_not_a_wrong_password() {
    for stored in ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1$", "$1$abc$def"] {
        let result = pool().verify("correct horse".into(), Some(stored)).await;
        assert_eq!(result, Err(PasswordError::MalformedVerifier), "{stored}");
    }
}

#[tokio::test]
async fn a_full_pool_is_busy_at_once_and_recovers() {
    let turned_away = Counter::default();
    let pool = PasswordPool::new(NonZeroUsize::MIN, 1, turned_away.clone());
    let (release, released) = std::sync::mpsc::channel::<()>();
    let working = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(move || released.recv()).await }
    });
    while pool.workers.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(|| ()).await }
    });
    while pool.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.verify("x".into(), None).await, Err(PasswordError::Busy));
    assert_eq!(turned_away.get(), 1);
    release.send(()).unwrap();
    assert!(working.await.unwrap().is_ok());
    assert_eq!(waiting.await.unwrap(), Ok(()));
    assert_eq!(pool.verify("x".into(), None).await, Ok(false));
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_free_the_place_of_a_running_hash() {
    let pool = PasswordPool::new(NonZeroUsize::MIN, 0, Counter::default());
    let (release, released) = std::sync::mpsc::channel::<()>();
    let caller = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(move || released.recv()).await }
    });
    while pool.workers.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert_eq!(pool.run(|| ()).await, Err(PasswordError::Busy));
    release.send(()).unwrap();
    while pool.waiting() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.run(|| ()).await, Ok(()));
}
