//! Does a client that leaves cut its command in half? A request is polled so many times and then
//! dropped, as the accept loop does when a connection ends: once at each await of its path.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, COOKIE, ORIGIN};
use chancery::extract::request_context::Peer;
use chancery::journal::Engine;
use chancery::journal::verify::verify;
use chancery::router::router;
use tower::ServiceExt;

use crate::harness::{Browser, Registration, Request, Server, on_both_engines};

/// A request that waits more often than this has not been understood.
const MOST_AWAITS: usize = 200;
/// How often a request may come that nothing had to be waited for: whoever loses its processor finds everything done.
const MOST_HASTE: usize = 50;

/// Sends the request and leaves after it was polled so many times; whether it was answered before.
async fn leaves_after(server: &Server, request: &Request, polls: usize, browser: Option<&Browser>) -> bool {
    let mut builder = axum::http::Request::post(request.path())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .extension(Peer([127, 0, 0, 1].into()));
    if let Some(browser) = browser {
        builder = builder.header(COOKIE, browser.cookies()).header(ORIGIN, &server.base);
    }
    let request = builder.body(Body::from(request.encoded())).unwrap();
    let mut answering = pin!(router(server.state().clone()).oneshot(request));
    let mut polled = 0;
    poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        answering.as_mut().poll(context).map(|answer| {
            let status = answer.unwrap().status();
            assert!(status.is_success() || status.is_redirection(), "{status}");
            true
        })
    })
    .await
}

/// Leaves a request of a kind at each of its awaits.
async fn at_every_await<T>(
    server: &Server,
    browser: Option<&Browser>,
    prepare: impl AsyncFn() -> (Request, T),
    has_happened: impl AsyncFn(T) -> bool,
) {
    for _ in 0..MOST_HASTE {
        if leave_at_each(server, browser, &prepare, &has_happened).await > 0 {
            return;
        }
    }
    panic!("there was nothing to wait for, {MOST_HASTE} times");
}

/// Sends a request of a kind anew for each await, leaving there, and looks what came of it when what was
/// begun has ended. In the end it must have been left both too early and late enough. At how many awaits that was.
async fn leave_at_each<T>(
    server: &Server,
    browser: Option<&Browser>,
    prepare: &impl AsyncFn() -> (Request, T),
    has_happened: &impl AsyncFn(T) -> bool,
) -> usize {
    let mut outcomes = Vec::new();
    for polls in 0..MOST_AWAITS {
        let (request, subject) = prepare().await;
        let is_answered = leaves_after(server, &request, polls, browser).await;
        while server.state().commands.in_progress() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let happened = has_happened(subject).await;
        assert!(happened || !is_answered, "answered after {polls} polls, and not done");
        outcomes.push(happened);
        if is_answered {
            assert_eq!((outcomes.first(), outcomes.last()), (Some(&false), Some(&true)), "{outcomes:?}");
            return outcomes.len() - 2;
        }
    }
    panic!("no answer after {MOST_AWAITS} polls");
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_a_client_that_leaves_at_any_await_leaves_whole_commands() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let asks_always = ada.register(&Registration::confidential().tick("ask_always")).await;
        let machine = ada.register(&Registration::machine()).await;
        // A second presentation wins only if the first left no trace.
        let is_refused = async |request: Request| request.send().await.status == 400;
        let twice = |request: Request| (request.clone(), request);
        let redeem = async || twice(app.redeem(&ada.code(&app).await));
        at_every_await(&server, None, redeem, is_refused).await;
        let refresh = async || twice(app.refresh(&ada.tokens(&app).await.refresh));
        at_every_await(&server, None, refresh, is_refused).await;
        let revoke = async || {
            let token = ada.tokens(&app).await.access;
            (app.revoke(&token), token)
        };
        at_every_await(&server, None, revoke, async |token| !app.sees_active(&token).await).await;

        let grew = async |before: i64| server.state().journal.applied() > before;
        let issue = async || (machine.client_credentials(), server.state().journal.applied());
        at_every_await(&server, None, issue, grew).await;
        let consent = async || {
            let form = ada.consent(&asks_always.query()).await.press("Authorize");
            let request = ada.request("POST", &form.action).pairs(&form.fields);
            (request, server.state().journal.applied())
        };
        at_every_await(&server, Some(&ada), consent, grew).await;
        let engine = server.state().journal.engine();
        verify(engine, &|_, _| {}).await.unwrap();
        assert_codes_became_tokens(engine).await;
    })
    .await;
}

/// A redeemed code and the token it gave are one command.
async fn assert_codes_became_tokens(engine: &dyn Engine) {
    let batches = engine.batches_after(0, i64::MAX).await.unwrap();
    let events: Vec<_> = batches.iter().flat_map(|batch| &batch.events).collect();
    let mut redeemed = 0;
    for (index, row) in events.iter().enumerate() {
        if row.event.event_type == "authorization.code_redeemed" {
            let next = events[index + 1];
            assert_eq!(next.event.event_type, "authorization.token_issued");
            assert_eq!((&next.aggregate_id, next.sequence), (&row.aggregate_id, row.sequence + 1));
            redeemed += 1;
        }
    }
    assert!(redeemed > 0);
}
