//! What holds in every order of commands.

use proptest::prelude::*;

use super::*;

/// Any command over a small world, so that the right ones meet often.
fn any_command(seconds: i64) -> impl Strategy<Value = AuthorizationCommand> {
    let client = prop_oneof![9 => Just("client"), 1 => Just("other")];
    let reason = RevocationReason::Client;
    prop_oneof![
        2 => Just(AuthorizationCommand::GrantAuthorization {
            authorization_id: "authorization".to_owned(), request: request(), code_challenge: None, nonce: None,
            auth_time: at(0), methods: vec![], basis: ConsentBasis::Remembered, code_expires_at: at(40),
            at: at(seconds),
        }),
        4 => client.clone().prop_map(move |client| CodeUse {
            client_id: client.to_owned(), verifier: None, at: at(seconds), ..code_use()
        }.into()),
        8 => (client, 0..6_u32, 0..20_u32).prop_map(move |(client, generation, retry_window)| RefreshTokenUse {
            client_id: client.to_owned(), retry_window, ..refresh_use(generation, seconds)
        }.into()),
        1 => (0..6_u32).prop_map(move |generation| AuthorizationCommand::ReportReuse {
            reused: Reused::RefreshToken { generation }, at: at(seconds),
        }),
        1 => Just(AuthorizationCommand::RevokeAccessToken {
            token_id: "access-1".to_owned(), reason, at: at(seconds),
        }),
        1 => Just(AuthorizationCommand::DenyAuthorization {
            authorization_id: String::new(), request: request(), at: at(seconds),
        }),
    ]
}

fn any_story() -> impl Strategy<Value = Vec<AuthorizationCommand>> {
    (0..40_i64)
        .prop_map(|length| (0..length).map(|step| any_command(step * 3)).collect::<Vec<_>>())
        .prop_flat_map(|story| story)
}

proptest! {
    /// Whatever is asked in whatever order: no panic, at most one code redeemed, one live generation.
    #[test]
    fn at_most_one_refresh_generation_is_alive(story in any_story()) {
        let mut state = Authorization::default();
        let (mut redemptions, mut now) = (0, 0);
        for command in story {
            let generation_before = state.generation();
            for event in state.decide(command).unwrap_or_default() {
                redemptions += i32::from(matches!(event, AuthorizationEvent::CodeRedeemed { .. }));
                state.apply_event(event);
            }
            prop_assert!(state.generation() >= generation_before, "a generation came back");
            let usable = (0..10).filter(|generation| state.decide(refresh_use(*generation, now).into()).is_ok());
            let usable: Vec<u32> = usable.collect();
            prop_assert!(usable.len() <= 1 && usable.iter().all(|one| Some(*one) == state.generation()));
            prop_assert!(!state.is_revoked() || usable.is_empty(), "a revoked family is alive");
            now += 3;
        }
        prop_assert!(redemptions <= 1);
    }

    /// However a client asks again and again, no token allows more than was granted, asked, allowed.
    #[test]
    fn narrowing_is_monotone(
        asked in proptest::collection::vec(proptest::sample::subsequence(vec!["read", "write", "admin"], 0..=3), 1..8),
        allowed in proptest::sample::subsequence(vec!["read", "write", "admin"], 0..=3),
    ) {
        let mut state: Authorization = state(redeemed());
        let allowed = scope(&allowed.join(" "));
        for (generation, names) in (1..).zip(asked) {
            let asked = scope(&names.join(" "));
            let token_use = RefreshTokenUse {
                scope: Some(asked.clone()), allowed_scope: allowed.clone(), ..refresh_use(generation, 100)
            };
            let Ok(events) = state.decide(token_use.into()) else { break };
            for event in events {
                state.apply_event(event);
            }
            let got = &state.current().unwrap().scope;
            prop_assert!(request().scope.contains_all(got) && allowed.contains_all(got));
            prop_assert!(asked.is_empty() || asked.contains_all(got));
        }
    }
}
