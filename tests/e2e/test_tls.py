"""HTTPS with an authority of one's own: trusted when named, refused when not; never switched off."""
import ssl
import subprocess

import pytest

from helpers import answer, job, replies, table


def openssl(folder, *args):
    subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A CA, and certificates of it: for 127.0.0.1, for another host, and one that has expired."""
    folder = tmp_path_factory.mktemp("ca")
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test Authority")
    for name, san, days in (("good", "IP:127.0.0.1", "1"), ("other", "DNS:other.example", "1"),
                            ("expired", "IP:127.0.0.1", "-1")):
        (folder / "ext").write_text(f"subjectAltName={san}\n")
        openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", days, "-extfile", "ext", "-out", f"{name}.pem")
    return folder


def secure(server, authority, name, handler):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / f"{name}.pem", authority / f"{name}.key")
    return server(handler, tls=context)


def test_trusted(canvass, server, write, authority):
    origin = secure(server, authority, "good", lambda r: r.reply(303, Location="/r") if r.method == "POST"
                    else r.reply(200, answer("secret talk")))
    result = canvass.run(write("job.lua", job(3)), write("t.lua", table({"us/m": origin.url("/m")})),
                         "--ca-file", authority / "ca.pem")
    assert result.status == 0, result
    assert len(origin.asked("POST")) == 3
    assert {r["answer"] for r in canvass.rows("SELECT answer FROM executions")} == {"secret talk"}


@pytest.mark.parametrize("certificate, with_ca", [("good", False), ("other", True), ("expired", True)])
def test_refused(canvass, server, write, authority, certificate, with_ca):
    """No request leaves; the class is tls; nothing was paid for, so it is tried again."""
    origin = secure(server, authority, certificate, replies(answer()))
    extra = ["--ca-file", authority / "ca.pem"] if with_ca else []
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url()})), *extra)
    assert result.status == 1 and not origin.requests, result
    row, = canvass.rows("SELECT * FROM executions")
    assert (row["status"], row["class"], row["attempts"]) == ("failed", "tls", 4)
    assert "certificate" in row["error"].lower()


def test_plain_text_on_a_tls_port(canvass, server, write, authority):
    origin = server(replies(answer()))
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url().replace("http:", "https:")})))
    assert result.status == 1
    assert canvass.rows("SELECT class FROM executions") == [{"class": "tls"}] and not origin.requests


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_ca_file_that_is_none(canvass, server, write, content):
    origin = server(replies(answer()))
    path = write("ca.pem", content) if content else canvass.folder / "nowhere.pem"
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url()})), "--ca-file", path)
    assert result.status == 2 and str(path) in result.err and not origin.requests, result


def test_check_over_tls(canvass, server, write, authority):
    origin = secure(server, authority, "good", lambda r: r.reply(200, dict(status="healthy", models_available=["m"])))
    path = write("t.lua", table({"us/m": origin.url()}, region=dict(us=dict(health=origin.url("/health")))))
    assert canvass("check", "--regions", path, "--ca-file", authority / "ca.pem").status == 0
    refused = canvass("check", "--regions", path)
    assert refused.status == 1 and "certificate" in refused.out.lower()
