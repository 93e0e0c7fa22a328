"""What looks like a secret is masked in the diff that a run keeps; ordinary code is not."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from harness.tracking import writing
from harness.tracking.access import shown_uri
from harness.tracking.masking import without_secrets
from harness.tracking.provenance import CodeState
from harness.tracking.relocation import experiment_folder
from harness.tracking.store import open_store
from harness.tracking.writing import RunIdentity, tracked_run

HUSH = "hush" + "7Xq"  # in two parts: a run may record this file, where it is not committed
SECRETS = (
    f"+password = '{HUSH}'",
    f'+    "api_key": "{HUSH}",',
    f"+export DB_PASSWORD={HUSH}",
    f"+  token: {HUSH}",
    f"+AWS_SECRET_ACCESS_KEY={HUSH}/abc+d",
    f"+os.environ['MLFLOW_TRACKING_TOKEN'] = '{HUSH}'",
    f"+uri = postgresql://ann:{HUSH}@host/db",
    "+x = AKIA" + "ABCDEFGH" + HUSH.upper() + "Z",
    "+ghp_" + HUSH * 6,
    "+a = sk-" + HUSH * 4,
    "+hf_" + HUSH * 6,
    "+jwt eyJ" + HUSH * 3 + "." + HUSH * 3 + "." + HUSH,
    f"+-----BEGIN RSA PRIVATE KEY-----\n+{HUSH}\n+{HUSH}\n+-----END RSA PRIVATE KEY-----",
    f"+PASSWORD='{HUSH} with spaces'",
    f" client_secret: {HUSH}",
    f"-passwd={HUSH}",
    f"+-----BEGIN OPENSSH PRIVATE KEY-----\n+{HUSH * 3}\n+{HUSH}{HUSH}",
    f"+-----BEGIN PGP PRIVATE KEY BLOCK-----\n+\n+{HUSH}\n+-----END P",
    f'+  "private_key": "-----BEGIN PRIVATE KEY-----\\n{HUSH}\\n-----END PRIVATE KEY-----\\n",',
    "+k = 'sk_" + "live_" + HUSH * 4 + "'",
    "+SG" + "." + HUSH * 3 + "." + HUSH * 5,
    "+ya29" + "." + HUSH * 6,
    "+x = " + "ASIA" + "ABCDEFGH" + HUSH.upper() + "Z",
    "+https://hooks.slack" + ".com/services/T0/B0/" + HUSH * 3,
    "+12345678:" + "AA" + HUSH * 5,
    f"+Authorization: Bearer {HUSH * 3}",
    f"+h = {{'Authorization': 'Basic {HUSH * 3}'}}",
    f"+curl -u ann:{HUSH} http://host",
    f"+machine host login ann password {HUSH}",
    f'+    "password = \\"{HUSH}\\"\\n",',
    f"+Server=db;Password={HUSH};",
    f"+AccountName=x;AccountKey={HUSH};EndpointSuffix=y",
    f"+password: >-\n+  {HUSH}",
    f"+  token:\n+    {HUSH}",
    f"+cmd --password {HUSH} x",
    f"+cmd --api-key={HUSH}",
    f"+passphrase = '{HUSH}'",
    f"+api-key: {HUSH}",
    f'+"pass": "{HUSH}"',
    f"+DB_PASS={HUSH}",
    f"+ENV TOKEN {HUSH}",
    f"+login(user='ann', password='{HUSH}')",
    f"+https://x.net/c?sv=1&sig={HUSH}%2B",
    f"+password = {HUSH}",
    f"+password={HUSH} # the db's",
    f"+  - name: DB_PASSWORD\n+    value: {HUSH}",
    f'+{{"name": "API_KEY", "value": "{HUSH}"}}',
    f"+const apiKey = `{HUSH}`;",
    f"+encryption_key = b'{HUSH}'",
    f"+_authToken={HUSH}",
    f'+"auth": "{HUSH}=="',
    f"+set_password('{HUSH}')",
    f"+auth=('ann', '{HUSH}')",
    f'+password = """{HUSH}"""',
    f"+password: str = r'{HUSH}'",
    f'+password="{HUSH}\\"{HUSH}"',
    f"+wandb.login(key='{HUSH * 5}')",
)
VARIABLES = (
    "SECRET", "MLFLOW_TRACKING_TOKEN", "MLFLOW_RUN_CONTEXT", "AWS_SECRET_ACCESS_KEY", "TF_SECRET", "HARNESS_SECRET",
    "KERAS_X", "GIT_ASKPASS", "HF_TOKEN", "PYTHONWARNINGS", "MLFLOW_EXPERIMENT_NAME", "DATABRICKS_TOKEN",
)  # fmt: skip
"""Of an environment, none of which is recorded: names of those that are ignored, and no value."""
CODE = (
    "+def login(password: str, token: str | None = None) -> None:",
    "+    self.token = token",
    "+    return find(token=token)",
    "+    secrets = [one for one in found]",
    "+skip = 'sk-'",
    "+tokens: list[str] = []",
    "+learning_rate: 0.001",
    "+    password = getpass.getpass()",
    "+class TokenError(Exception):",
    "+        pass_filenames: false",
    "+google-auth==2.62.2",
    '+    headers = {"Authorization": f"Bearer {token}"}',
    '+password = ""',
    "+token: ${oc.env:TOKEN}",
    '+parser.add_argument("--token", help="of the server")',
    "+harness ui --token TOKEN",
    "+author = 'Ann'",
    "+tokens = 128",
    "+if password:\n+    return",
    "+    passes = compass + bypass",
    "+# Basic authentication is asked for",
    "+- name: token\n+  kind: text",
)


@pytest.mark.parametrize("line", SECRETS)
def test_secrets_are_masked(line: str) -> None:
    masked, count = without_secrets(shown_uri(line))
    assert HUSH.lower() not in masked.lower()
    assert "***" in masked or "postgresql" in masked
    assert count or "postgresql" in line or shown_uri(line) != line


@pytest.mark.parametrize("line", CODE)
def test_code_stays(line: str) -> None:
    assert without_secrets(line) == (line, 0)


@pytest.mark.parametrize(
    "text", ["token=", "+" + "a_token_" * 9, "--token ", "-", "+token:\n", "name: token ", "+ \tpassword"]
)
def test_long_lines_are_gone_through_in_a_moment(text: str) -> None:
    began = time.process_time()
    without_secrets(text * (200_000 // len(text)))
    assert time.process_time() - began < 3


@pytest.mark.parametrize("keep", [True, False])
def test_a_run_keeps_the_diff_without_secrets_or_not_at_all(
    keep: bool, project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, f"value-{HUSH}")
    changes = f"+width = 3\n+password = '{HUSH}'\n+at http://me:{HUSH}@host\n"
    state = CodeState("1", "checkout", "a" * 40, dirty=True, diff=changes)
    monkeypatch.setattr(writing, "code_state", lambda: state)
    with caplog.at_level(logging.WARNING), tracked_run(open_store(), RunIdentity("mine", "study"), diff=keep):
        pass
    kept = [file for file in (project / "mlruns").rglob("*") if file.is_file()]
    assert not [file for file in (*kept, project / "mlflow.db") if HUSH.encode() in file.read_bytes()]
    assert [file.read_text() for file in kept if file.name == "uncommitted.diff"] == (
        ["+width = 3\n+password = '***'\n+at http://host\n"] if keep else []
    )
    assert ("masked in code/uncommitted.diff" in caplog.text) == keep


@pytest.mark.parametrize("name", ["..", ".", "../..", "/etc", "a/../..", ".git"])
def test_an_experiment_lies_in_a_folder_of_its_own_whatever_it_is_called(name: str, project: Path) -> None:
    root = project / "mlruns"
    assert (root / experiment_folder(name)).resolve().parent == root.resolve()
    assert not experiment_folder(name).startswith(".")
