//! What is a secret goes, at any place and however cut off; what is none stays byte for byte.

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest},
    sample::select,
};

use super::{Place, Redactor, own, token::TOKENS};
use crate::proto::event::{
    Agent, Daemon, Dns, Event, Exec, File, Guard, InAgent, Loss, Network, Operator, Policy, Process, Redaction, event::Detail,
};

/// A token of every family in the table.
fn canary(prefix: &str) -> String {
    let body = match prefix {
        "eyJ" => "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
        "AKIA" | "ASIA" | "ABIA" | "ACCA" => "IOSFODNN7EXAMPLE",
        "dapi" => "0123456789abcdef0123456789abcdef",
        "SG." => "aB3dE6gH9jK2mN5pQ8sT1u.wX4zA7cF0hJ3kM6nP9qR2tU5vY8bD1eG4iL7oS0rW",
        "hooks.slack.com/services/" => "T00000000/B00000000/aB3dE6gH9jK2mN5pQ8sT1uXX",
        _ => "aB3dE6gH9jK2mN5pQ8sT1uwX4zA7cF0hJ3kM6nP9qR2tU5v",
    };
    format!("{prefix}{body}")
}

fn text(given: &str) -> String {
    let kept = Redactor::built_in().text(given.as_bytes()).map(|(kept, _)| kept);
    kept.map_or_else(|| given.to_owned(), |kept| String::from_utf8(kept).expect("text"))
}

fn arguments(given: &[&str]) -> Vec<String> {
    let argv: Vec<Vec<u8>> = given.iter().map(|a| a.as_bytes().to_vec()).collect();
    let (kept, _) = Redactor::built_in().arguments(&argv);
    kept.into_iter().map(|a| String::from_utf8(a).expect("text")).collect()
}

#[test]
fn every_family_of_tokens_is_found_and_named() {
    for token in TOKENS {
        let secret = canary(token.prefix);
        for around in ["{}", "/tmp/{}/file", "x={}", "say '{}' twice", "a.{}:b", "https://host/{}?x=1"] {
            let kept = text(&around.replace("{}", &secret));
            assert!(kept.contains("[redacted:"), "{secret}: {kept}");
            assert!(!kept.contains(&secret[token.prefix.len()..]), "{kept}");
        }
        assert!(text(&format!("/tmp/{secret}/f")).contains(token.rule), "{secret} is called {}", text(&secret));
    }
}

#[test]
fn a_token_that_was_cut_off_is_found() {
    let redactor = Redactor::built_in();
    for token in TOKENS {
        let secret = canary(token.prefix);
        // Of a JWT the header is no secret.
        let from = if token.prefix == "eyJ" { secret.find('.').expect("parts") + 2 } else { token.prefix.len() + 1 };
        for end in from..secret.len() {
            let shown = format!("/tmp/{}", &secret[..end]);
            let place = Place { cut: true, ..Place::default() };
            let kept = redactor.replaced(shown.as_bytes(), place, &mut Vec::new());
            assert!(kept.is_some_and(|kept| kept.starts_with(b"/tmp/[redacted:")), "{shown}");
        }
    }
}

/// What is said, and what is kept of it.
#[test]
fn secrets_in_text() {
    for (given, kept) in [
        ("https://user:hunter2@host/x", "https://user:[redacted:url-password]@host/x"),
        ("postgres://u:p%40ss@db:5432/x?sslmode=off", "postgres://u:[redacted:url-password]@db:5432/x?sslmode=off"),
        ("redis://:hunter2@cache:6379", "redis://:[redacted:url-password]@cache:6379"),
        ("https://user:pa/ss@host/x", "https://user:[redacted:url-password]@host/x"),
        ("https://0123456789abcdef0123@sentry.io/1", "https://[redacted:url-password]@sentry.io/1"),
        ("https://0123456789abcdef0123:x-oauth-basic@h", "https://[redacted:url-password]:[redacted:url-password]@h"),
        ("root:hunter2@tcp(db:3306)/x", "root:[redacted:url-password]@tcp(db:3306)/x"),
        ("https://h/x?access_token=abc&y=1", "https://h/x?access_token=[redacted:named-value]&y=1"),
        ("https://h/x?y=1&X-Amz-Signature=0a1b&z=2", "https://h/x?y=1&X-Amz-Signature=[redacted:named-value]&z=2"),
        ("https://h/x?sv=2&sig=a%2Bb#top", "https://h/x?sv=2&sig=[redacted:named-value]"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "AWS_SECRET_ACCESS_KEY=[redacted:named-value]"),
        ("export DB_PASSWORD='two words' X=1", "export DB_PASSWORD='[redacted:named-value]' X=1"),
        (r#"{"password":"hunter2","user":"bob"}"#, r#"{"password":"[redacted:named-value]","user":"bob"}"#),
        (r#"{\"api_key\":\"hunter2\",\"n\":1}"#, r#"{\"api_key\":\"[redacted:named-value]\",\"n\":1}"#),
        ("password: hunter2 and more", "password: [redacted:named-value] and more"),
        ("dbPassword = hunter2", "dbPassword = [redacted:named-value]"),
        ("MYSQL_PWD=abc mysql", "MYSQL_PWD=[redacted:named-value] mysql"),
        ("PGPASSWORD=abc psql -h db", "PGPASSWORD=[redacted:named-value] psql -h db"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted:authorization]"),
        ("-H 'Authorization: token abc' -v", "-H 'Authorization: token [redacted:authorization]' -v"),
        ("-H \"Cookie: a=b; c=d\" x", "-H \"Cookie: [redacted:authorization]\" x"),
        ("-H \"X-Api-Key: two words\" x", "-H \"X-Api-Key: [redacted:named-value]\" x"),
        ("got Bearer abc123def456", "got Bearer [redacted:authorization]"),
        ("Basic dXNlcjpodW50ZXIy", "Basic [redacted:authorization]"),
        ("create user x identified by 'hunter2';", "create user x identified by '[redacted:named-value]';"),
        ("mysql -u root -phunter2 db", "mysql -u root -p[redacted:argument] db"),
        ("cd /x && curl -u bob:hunter2 http://h | sh", "cd /x && curl -u bob:[redacted:argument] http://h | sh"),
        ("tool --password hunter2 --verbose", "tool --password [redacted:argument] --verbose"),
        ("tool --api-key 'two words' x", "tool --api-key '[redacted:argument]' x"),
        ("a -----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY----- b", "a [redacted:private-key] b"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", "[redacted:private-key]"),
        ("MIIE\n-----END RSA PRIVATE KEY-----\nx", "[redacted:private-key]\nx"),
    ] {
        assert_eq!(text(given), kept, "of {given}");
        assert_eq!(text(kept), kept, "done twice");
    }
}

#[test]
fn secrets_in_arguments() {
    for (given, kept) in [
        (&["mysql", "-uroot", "-phunter2"][..], &["mysql", "-uroot", "-p[redacted:argument]"][..]),
        (&["sudo", "-u", "app", "mysqldump", "-phunter2", "db"], &["sudo", "-u", "app", "mysqldump", "-p[redacted:argument]", "db"]),
        (&["curl", "-u", "bob:hun:ter2", "u"], &["curl", "-u", "bob:[redacted:argument]", "u"]),
        (&["curl", "-ubob:hunter2"], &["curl", "-ubob:[redacted:argument]"]),
        (&["curl", "--user=bob:hunter2"], &["curl", "--user=bob:[redacted:argument]"]),
        (&["curl", "-H", "Authorization: Basic QWxhZGRpbg=="], &["curl", "-H", "Authorization: Basic [redacted:authorization]"]),
        (&["curl", "-HX-Vault-Token: a b"], &["curl", "-HX-Vault-Token: [redacted:named-value]"]),
        (&["curl", "-b", "session=abc", "-d", "password=ab&b=c"], &["curl", "-b", "[redacted:argument]", "-d", "password=[redacted:named-value]&b=c"]),
        (&["tool", "--password", "-dash"], &["tool", "--password", "[redacted:argument]"]),
        (&["tool", "--password=two words; x"], &["tool", "--password=[redacted:named-value]"]),
        (&["tool", "--password", "--verbose"], &["tool", "--password", "--verbose"]),
        (&["tool", "-token", "abc"], &["tool", "-token", "[redacted:argument]"]),
        (&["env", "API_TOKEN=two words", "cmd"], &["env", "API_TOKEN=[redacted:named-value]", "cmd"]),
        (&["sh", "-c", "API_TOKEN=abc cmd; rm -rf /x"], &["sh", "-c", "API_TOKEN=[redacted:named-value] cmd; rm -rf /x"]),
        (&["bash", "-lc", "sshpass -p hunter2 ssh h"], &["bash", "-lc", "sshpass -p [redacted:argument] ssh h"]),
        (&["docker", "login", "-u", "bob", "-p", "hunter2"], &["docker", "login", "-u", "bob", "-p", "[redacted:argument]"]),
        (&["openssl", "rsa", "-passin", "pass:hunter2"], &["openssl", "rsa", "-passin", "pass:[redacted:named-value]"]),
        (&["smbclient", "-U", "bob%hunter2", "//h/s"], &["smbclient", "-U", "bob%[redacted:argument]", "//h/s"]),
        (&["redis-cli", "-a", "hunter2", "ping"], &["redis-cli", "-a", "[redacted:argument]", "ping"]),
        (&["npm", "config", "set", "//r.example/:_authToken", "abc"], &["npm", "config", "set", "//r.example/:_authToken", "[redacted:argument]"]),
        (&["aws", "configure", "set", "aws_secret_access_key", "abc"], &["aws", "configure", "set", "aws_secret_access_key", "[redacted:argument]"]),
        (&["kubectl", "create", "secret", "generic", "x", "--from-literal=password=abc"], &["kubectl", "create", "secret", "generic", "x", "--from-literal=password=[redacted:named-value]"]),
        (&["tool", "--private-key", "abc def"], &["tool", "--private-key", "[redacted:argument]"]),
    ] {
        assert_eq!(arguments(given), kept, "of {given:?}");
        assert_eq!(arguments(kept), kept, "done twice");
    }
}

/// Commands and paths of a day's work.
const ORDINARY: &[&str] = &[
    "git clone https://github.com/aegis-agent/aegis.git",
    "git clone ssh://git@github.com:22/x/y.git",
    "git clone git@github.com:x/y.git",
    "git commit -m 'parse: a token is no keyword'",
    "git checkout 0123456789abcdef0123456789abcdef01234567",
    "git log --author=Ann --format=%H --pretty=format:%an",
    "git show HEAD:src/token.rs",
    "git -C /srv/x config user.signingkey ABCDEF0123456789",
    "cargo test -p aegis-agent -- --nocapture redact::tests::secrets_in_text",
    "cargo build --features tokenizer,auth",
    "npm install --save-dev @types/node@20.1.0 jsonwebtoken@9.0.2",
    "npm run build:prod",
    "npm_config_cache=/tmp/x npm ci",
    "pip install sk-learn scikit-learn==1.4.0 keyring==24.3.0 huggingface_hub",
    "python3 -m http.server --bind 127.0.0.1 8080",
    "python3 train.py --max_tokens=4096 --eos_token=</s> --tokenizer=gpt2",
    "docker run -p 8080:80 -v secret:/run/secret -e PATH=/usr/bin nginx@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "docker ps --format '{{.ID}}: {{.Names}}' --no-trunc",
    "docker login --password-stdin registry.example.com",
    "kubectl get secret my-secret -o yaml",
    "curl -sSfL https://example.com:8443/path@1.2/file?x=1&page=2 -o /tmp/out",
    "curl http://[::1]:8080/health http://localhost:$PORT/x",
    "curl -b cookies.txt -c cookies.txt https://h/",
    "ssh -i /home/dev/.ssh/id_ed25519 dev@host 'ls -la'",
    "ssh-keygen -t ed25519 -f /tmp/key -C me@host",
    "sort --key=2,3 -t: /etc/passwd",
    "grep -rn 'password' src/auth/token.py",
    "cat /etc/passwd /etc/shadow",
    "passwd bob",
    "mysql -u root -p db",
    "mysql --defaults-file=/etc/my.cnf -h db.example.com -P 3306",
    "psql postgresql://bob@db/x",
    "tar xzf /tmp/foo-1.2.3.tar.gz --strip-components=1",
    "ls /var/lib/docker/overlay2/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/merged",
    "/proc/1234/fd/5 /sys/fs/cgroup/aegis/f25e73e46c74",
    "/nix/store/0c0zpsgf3cpgbc6hxk2zp0ylmfnp4nvf-python3-3.12/bin/python3.12",
    "/tmp/8f14e45f-ceea-467f-a8f5-5a3c2b1e7d90/eyJhIjoiYiJ9.json",
    "/tmp/cm9vdDpodW50ZXIyCg==.b64 eyJhIjoiYiIsImMiOiJkIn0=",
    "/home/dev/.cache/pip/http/6/a/b/6ab1c2d3e4f5",
    "/work/keyboard/monkey=banana compass=north bypass=1 turkey=2",
    "/usr/lib/python3/dist-packages/secrets.py /usr/include/crypto/key.h",
    "SSH_AUTH_SOCK=/tmp/ssh-x/agent.1 PWD=/home/dev OLDPWD=/ KEYMAP=us",
    "TOKENIZERS_PARALLELISM=false POSTGRES_PASSWORD_FILE=/run/secrets/pg",
    "ffmpeg -i in.mkv -pass 1 -c:v libx264 out.mp4",
    "gpg --recv-keys 0xABCDEF0123456789 --keyserver hkps://keys.openpgp.org",
    "apt-key list; apt-get install -y zip unzip mysql-client",
    "zip -r out.zip dir && unzip -l out.zip",
    "find . -name '*.pem' -newer x -exec ls {} ;",
    "terraform plan -var-file=prod.tfvars -out=plan.bin",
    "make -j8 CC=clang CFLAGS=-O2 V=1",
    "openssl x509 -in cert.pem -noout -text",
    "-----BEGIN CERTIFICATE----- MIIB -----END CERTIFICATE-----",
    "the bearer of this, basic usage, an unexpected token",
    "task-runner-2000 disk-usage-of-all-things risk-assessment-Q3-2025",
    "aws s3 cp s3://bucket/key=1/part-0 . --region eu-central-1",
    "rg 'token::Kind' --type rust std::collections::HashMap",
    "node -e 'const key = 1' --require ./x.js",
    "container 3f4e8a1b2c3d 3f4e8a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3e4f5061728394a5b6c7d",
    "systemd-run --property=MemoryMax=1G --unit=x.service",
    "sed -i s/a/b/g file.txt; awk -F: '{print $1}' /etc/group",
    "aegis run --policy agent.yaml --pass-fd 3 -- true",
];

#[test]
fn ordinary_commands_and_paths_stay_as_they_are() {
    for line in ORDINARY {
        assert_eq!(&text(line), line);
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(arguments(&words), words);
    }
}

/// A secret and where it may stand; the second is what must not be kept.
fn planted() -> impl Strategy<Value = (String, String)> {
    let value = "[A-Za-z0-9]{3}[0-9][A-Za-z0-9]{8,30}Q7";
    prop_oneof![
        (0..TOKENS.len()).prop_map(|at| {
            let prefix = TOKENS[at].prefix;
            (canary(prefix), canary(prefix)[prefix.len()..].to_owned())
        }),
        (select(vec!["https://bob:{}@host/p", "x://:{}@h", "amqp://a:{}@h:1/v"]), value).prop_map(filled),
        (select(vec!["DB_PASSWORD={}", "--secret-key={}", "?access_token={}", "&sig={}", "password: {}", "\"token\":\"{}\"", "apiKey = {}"]), value).prop_map(filled),
        (select(vec!["Authorization: Bearer {}", "Cookie: sid={}", "bearer {}"]), value).prop_map(filled),
        (select(vec!["--password {}", "mysql -p{}", "curl -u bob:{}", "sshpass -p {}", "redis-cli -a {}"]), value).prop_map(filled),
    ]
}

fn filled((form, value): (&str, String)) -> (String, String) {
    (form.replace("{}", &value), value)
}

fn contains(text: &[u8], what: &str) -> bool {
    text.windows(what.len()).any(|w| w == what.as_bytes())
}

proptest! {
    #[test]
    fn no_secret_survives_between_other_bytes((secret, value) in planted(), mut before in vec(any::<u8>(), 0..40), after in vec(any::<u8>(), 0..40)) {
        // An option with a quote behind it would have all up to the next quote for its value.
        before.retain(|b| *b != b'-');
        let given = [&before, &b" "[..], secret.as_bytes(), b" ", &after].concat();
        let (kept, found) = Redactor::built_in().text(&given).expect("found");
        prop_assert!(!contains(&kept, &value), "{:?}", String::from_utf8_lossy(&kept));
        prop_assert!(found.iter().any(|one| one.count > 0));
    }

    #[test]
    fn no_secret_survives_in_any_argument((secret, value) in planted(), mut argv in vec("[a-z/.-]{0,12}", 1..6), at in any::<proptest::sample::Index>()) {
        // Options of others would take the first word of it.
        argv.retain(|a| !a.starts_with('-'));
        let at = at.index(argv.len() + 1);
        argv.insert(at, secret.clone());
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let kept = arguments(&words).join(" ");
        prop_assert!(!kept.contains(&value), "{kept}");
    }

    #[test]
    fn done_twice_is_done_once(given in vec(any::<u8>(), 0..200), (secret, _) in planted(), tail in "[ -~]{0,40}") {
        let redactor = Redactor::built_in();
        let given = [given.as_slice(), b" ", secret.as_bytes(), b" ", tail.as_bytes()].concat();
        let once = redactor.text(&given).map_or(given, |(kept, _)| kept);
        prop_assert_eq!(redactor.text(&once).map(|(kept, _)| String::from_utf8_lossy(&kept).into_owned()), None, "{}", String::from_utf8_lossy(&once));
    }

    #[test]
    fn nothing_but_the_secret_goes(before in "[a-z /]{0,30}", after in "[a-z /]{0,30}") {
        let given = format!("{before} ghp_0123456789abcdefghij0123456789abcdef {after}");
        prop_assert_eq!(text(&given), format!("{before} [redacted:github-token] {after}"));
    }
}

/// An event with this in every text there is.
fn everywhere(secret: &str, which: usize) -> Event {
    let (s, b) = (|| secret.to_owned(), || secret.as_bytes().to_vec());
    let argv = || vec![b"x".to_vec(), b()];
    let detail = match which {
        0 => Detail::Exec(Exec { path: b(), argv: argv(), environment: vec![b()], ..Exec::default() }),
        1 => Detail::File(File { op: s(), path: b(), target: b(), argv: argv(), variable: b(), ..File::default() }),
        2 => Detail::Network(Network { op: s(), address: s(), protocol: s(), name: s(), direction: s(), ..Network::default() }),
        3 => Detail::Guard(Guard { op: s(), subject: s(), errno: 0 }),
        4 => Detail::AgentState(Agent { state: s(), argv: argv(), text: s(), cgroup: s(), ..Agent::default() }),
        5 => Detail::Policy(Policy { name: s(), mode: s(), manifest: b(), ..Policy::default() }),
        6 => Detail::Operator(Operator { action: s(), exe: b(), target: s(), outcome: s(), reason: s(), ..Operator::default() }),
        7 => Detail::Daemon(Daemon { state: s(), version: s(), kernel: s(), text: s(), abi: 0 }),
        8 => Detail::Loss(Loss { kind: s(), r#where: s(), ..Loss::default() }),
        _ => Detail::Dns(Dns { op: s(), name: s(), r#type: s(), resolver: s(), answers: vec![s()], ..Dns::default() }),
    };
    Event {
        agent: s(),
        rule: s(),
        reason: s(),
        process: Some(Process { comm: b(), exe: b(), argv: argv(), user: s(), cgroup: s(), ..Process::default() }),
        in_agent: Some(InAgent { path: b(), target: b() }),
        detail: Some(detail),
        ..Event::default()
    }
}

#[test]
fn no_field_of_an_event_keeps_a_secret_and_the_event_counts_them() {
    use prost::Message as _;
    let redactor = Redactor::built_in();
    let secret = canary("ghp_");
    for which in 0..10 {
        let mut event = everywhere(&secret, which);
        let planted = count(&event.encode_to_vec(), secret.as_bytes());
        redactor.event(&mut event);
        let body = event.encode_to_vec();
        assert!(!contains(&body, &secret[4..]), "{event:?}");
        assert_eq!(event.redacted, [Redaction { rule: "github-token".into(), count: u32::try_from(planted).expect("few") }]);
        let once = event.clone();
        redactor.event(&mut event);
        assert_eq!(event, once, "done twice");
    }
}

fn count(text: &[u8], what: &[u8]) -> usize {
    text.windows(what.len()).filter(|w| *w == what).count()
}

#[test]
fn a_host_name_says_it_in_small_letters_too() {
    let mut event = everywhere("akiaiosfodnn7example.evil.example", 9);
    Redactor::built_in().event(&mut event);
    let Some(Detail::Dns(dns)) = event.detail else { panic!("dns") };
    assert_eq!(dns.name, "[redacted:aws-key-id].evil.example");
    let mut event = everywhere("ghp_0123456789abcdefghij0123456789abcdef.evil.example", 2);
    Redactor::built_in().event(&mut event);
    let Some(Detail::Network(network)) = event.detail else { panic!("network") };
    assert_eq!(network.name, "[redacted:github-token].evil.example");
}

#[test]
fn arguments_that_the_kernel_cut_off_are_cut_secrets() {
    let exec = |argv_cut| {
        let argv = vec![b"x".to_vec(), b"ghp_abc".to_vec()];
        let mut event = Event { detail: Some(Detail::Exec(Exec { argv, argv_cut, ..Exec::default() })), ..Event::default() };
        Redactor::built_in().event(&mut event);
        event
    };
    assert!(exec(false).redacted.is_empty());
    assert_eq!(exec(true).redacted.len(), 1);
    // A process's name is cut by the kernel, and nobody says so.
    let process = Process { comm: b"ghp_0123456789a".to_vec(), ..Process::default() };
    let mut event = Event { process: Some(process), ..Event::default() };
    Redactor::built_in().event(&mut event);
    assert_eq!(event.process.expect("process").comm, b"[redacted:github-token]");
}

/// Of this thread: what else the machine does is not counted.
fn cpu_time() -> std::time::Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::try_from(now).expect("since the thread began")
}

#[test]
fn hostile_text_takes_no_long_time() {
    let redactor = Redactor::built_in();
    for piece in ["ghp_", "eyJ", "key=", "password", "://", "://a:", "bearer ", "basic ", "sk-", "token:", "\"token\"", "-----BEGIN ", "@tcp(", "=key", "api_key=/", "token=no", "\\\"", "'"] {
        let text = piece.repeat(64 * 1024 / piece.len());
        let begun = cpu_time();
        let _kept = redactor.text(text.as_bytes());
        let took = cpu_time() - begun;
        assert!(took < std::time::Duration::from_secs(2), "{piece}: {took:?}");
    }
}

mod rules {
    use std::collections::BTreeSet;

    use super::{Just, Redactor, Strategy, any, own, prop_oneof, proptest};

    fn read(text: &str) -> Result<Vec<own::Rule>, String> {
        own::read(text.as_bytes(), "x.yaml", &mut BTreeSet::new())
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    const GOOD: &str = "version: \"1.0\"\nrules:\n  - name: acme-token\n    pattern: 'acme_[0-9a-f]{8}'\n  - name: badge\n    pattern: 'badge (?P<secret>\\d+)'\n";

    #[test]
    fn a_rule_of_the_operators_is_used_and_named() {
        let redactor = Redactor::new(read(GOOD).expect("rules")).expect("redactor");
        let (kept, found) = redactor.text(b"a acme_0123abcd b \xff badge 1234!").expect("found");
        assert_eq!(kept, b"a [redacted:acme-token] b \xff badge [redacted:badge]!");
        assert_eq!(found.iter().map(|one| (one.rule.as_str(), one.count)).collect::<Vec<_>>(), [("acme-token", 1), ("badge", 1)]);
        assert!(redactor.text(&kept).is_none(), "done twice");
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        let rule = |more: &str| format!("version: \"1.0\"\nrules:\n  - name: x\n{more}");
        for (text, place, what) in [
            (rule("    pattern: 'a('\n"), "x.yaml:4:14", "not a regular expression: unclosed group"),
            (rule("    pattern: 'a*'\n"), "x.yaml:4:14", "matches nothing at all"),
            (rule("    pattern: '(a{1000}){1000}'\n"), "x.yaml:4:14", "too much memory"),
            (rule(&format!("    pattern: '{}'\n", "a".repeat(3000))), "x.yaml:4:14", "a pattern of 3000 bytes"),
            (rule("    pattern: a\n    replace: b\n"), "x.yaml:5:5", "unknown key `replace`"),
            (rule(""), "x.yaml:3:5", "needs `name` and `pattern`"),
            (rule("    pattern: a\n  - name: x\n    pattern: b\n"), "x.yaml:5:11", "there is a rule `x` already"),
            ("version: \"1.0\"\nrules:\n  - {name: jwt, pattern: a}\n".into(), "x.yaml:3:12", "there is a rule `jwt` already"),
            ("version: \"1.0\"\nrules:\n  - {name: 'A b', pattern: a}\n".into(), "x.yaml:3:12", "no name of a rule"),
            ("version: \"2\"\nrules: []\n".into(), "x.yaml:1:10", "version"),
            ("version: \"1.0\"\nrule: []\n".into(), "x.yaml:2:1", "unknown key `rule`"),
            ("version: \"1.0\"\nrules: a\n".into(), "x.yaml:2:8", "no list"),
            ("- a\n".into(), "x.yaml:1:1", "a mapping is expected"),
            ("version: \"1.0\"\nrules: [\n".into(), "x.yaml", "not YAML"),
        ] {
            let error = read(&text).expect_err(&text);
            assert!(error.contains(place) && error.contains(what), "{text}\n{error}");
        }
    }

    proptest! {
        #[test]
        fn no_file_of_rules_panics(text in prop_oneof![any::<String>(), mutated()]) {
            let _read = read(&text);
        }
    }

    fn mutated() -> impl Strategy<Value = String> {
        (Just(GOOD), any::<proptest::sample::Index>(), "[ -~\n]{0,6}").prop_map(|(good, at, with)| {
            let at = at.index(good.len());
            format!("{}{with}{}", &good[..at], &good[at..])
        })
    }
}
