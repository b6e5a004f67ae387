//! Is what stands beside the log, and is in no event, what the events refer to?

use chancery::journal::verify::{Missing, verify};

use crate::harness::on_both_engines;

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_beside_the_log_and_no_event_refers_to_is_named() {
    on_both_engines(async |server| {
        server.ada_and_app().await;
        let engine = server.state().journal.engine();
        assert_eq!(verify(engine, &|_, _| {}).await.unwrap().missing, Missing::default());
        let found_after = async |sql: &str| {
            engine.execute(sql, &[]).await.unwrap();
            verify(engine, &|_, _| {}).await.expect_err("somebody has changed it").to_string()
        };
        let stray =
            found_after("INSERT INTO secrets (id, verifier) VALUES ('stray', '$argon2id$v=19')").await;
        assert_eq!(stray, "table secrets, row stray: no event refers to it");
        engine.execute("DELETE FROM secrets WHERE id = 'stray'", &[]).await.unwrap();

        let stray = found_after("INSERT INTO subject_keys (subject, wrapped) VALUES ('stray', 'x')").await;
        assert_eq!(stray, "table subject_keys, row stray: no event refers to it");
        engine.execute("DELETE FROM subject_keys WHERE subject = 'stray'", &[]).await.unwrap();

        // Of a secret that was generated one that could be computed without the server's key.
        let changed =
            found_after("UPDATE secrets SET verifier = '$argon2id$v=19' WHERE verifier LIKE 'keyed%'").await;
        assert!(changed.ends_with("it is not of the kind that its event says"), "{changed}");

        engine.execute("DELETE FROM secrets", &[]).await.unwrap();
        engine.execute("DELETE FROM subject_keys", &[]).await.unwrap();
        let Missing { verifiers, subject_keys } = verify(engine, &|_, _| {}).await.unwrap().missing;
        assert!(verifiers > 1 && subject_keys > 0, "{verifiers} and {subject_keys}");
        let said = server.run(&["verify"]).await.succeeded();
        assert!(said.stderr.contains(&format!("{verifiers} verifiers and {subject_keys} keys")), "{said:?}");
    })
    .await;
}
