//! Addresses that a client gives itself: nobody is in China because he says so.

use crate::door::{FEW_PACKS, KEPT, SMUGGLED};
use crate::support::gateway::{Gateway, LOCATIONS, Stores};
use crate::support::raw::Raw;
use crate::support::{Listens, S3Server};

const CHINESE: &str = "data-class=personal.health&subject-country=CN";

/// Clients are in the US, as the operator knows; one network is in China; no proxy is trusted.
const ABROAD: &str = "[geo.networks]\n\"127.0.0.0/8\" = \"US\"\n\"198.51.100.0/24\" = \"CN\"\n";

#[tokio::test]
async fn an_address_in_a_header_of_an_untrusted_peer_opens_nothing() {
    let mut servers = Vec::new();
    for _ in LOCATIONS {
        servers.push(S3Server::files(Listens::Http).await);
    }
    let gateway = Gateway::configured(Stores::Servers(servers), &format!("{ABROAD}\n{FEW_PACKS}")).await;
    let client = gateway.client();
    client.create_bucket().bucket("clinic").send().await.unwrap();
    let put = client.put_object().bucket("clinic").key("record").tagging(CHINESE);
    put.body(KEPT.as_bytes().to_vec().into()).send().await.unwrap();
    for (name, value) in [
        ("x-forwarded-for", "198.51.100.7"),
        ("X-Forwarded-For", "198.51.100.7, 198.51.100.8"),
        ("x-forwarded-for", "127.0.0.1, 198.51.100.7"),
        ("x-forwarded-for", "::ffff:198.51.100.7"),
        ("x-real-ip", "198.51.100.7"),
        ("x-client-ip", "198.51.100.7"),
        ("true-client-ip", "198.51.100.7"),
        ("cf-connecting-ip", "198.51.100.7"),
        ("forwarded", "for=198.51.100.7"),
        ("via", "1.1 198.51.100.7"),
    ] {
        let answer = Raw::new(&gateway, "GET", "/clinic/record").sign().header(name, value).send().await;
        answer.refused(403, "AccessDenied");
        assert!(answer.header("x-domicile-rule").is_some_and(|rule| rule.starts_with("CN-")), "{name}");
        assert!(!answer.text().contains(KEPT));
        // Nor is whom an object is about taken from there.
        let put =
            Raw::new(&gateway, "PUT", "/clinic/other").header("x-amz-tagging", "data-class=personal.health");
        let answer = put.body(SMUGGLED).sign().header(name, value).send().await;
        assert_ne!(answer.header("x-domicile-location"), Some("cn-north"), "{name}: {}", answer.text());
        if answer.status == 200 {
            client.delete_object().bucket("clinic").key("other").send().await.unwrap();
        }
    }
    // Writes that were judged as those of somebody in the US may have gone where such may go: never to China.
    let chinese = gateway.servers()[0].seen();
    assert!(chinese.iter().all(|request| !request.target.contains("other")));
    let seen = gateway.servers().iter().flat_map(S3Server::seen);
    let reads = seen.filter(|request| request.method == "GET" && request.target.contains("record"));
    assert_eq!(reads.count(), 0, "a location was asked for the record");
}
