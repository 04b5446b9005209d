"""Sources over HTTP, by a real server over a real database, at a real source."""

from __future__ import annotations

import json
from base64 import b64encode

from certificates import CERTIFICATE, KEY_TEXT, OTHER_CERTIFICATE, PRIVATE_KEY
from nacl.public import PublicKey, SealedBox
from offices import SECRET, Office, new_query
from people import code, people_over


def test_source_is_made_shown_changed_and_deleted(office: Office) -> None:
    made = office.admin.post("/api/datasources", json=office.new_source())
    source = made.json()
    assert (made.status_code, made.headers["location"]) == (201, f"/api/datasources/{source['id']}")
    assert {
        name: source[name] for name in ("has_password", "enc_algo", "key_version", "max_concurrency")
    } == {
        "has_password": True,
        "enc_algo": "sealedbox-v1",
        "key_version": 1,
        "max_concurrency": 4,
    }
    for key in ("shop", source["id"]):
        assert office.admin.get(f"/api/datasources/{key}").json() == source
    other = office.add_source(name="Another", password=None, port=None, sslmode=None)
    assert (other["has_password"], other["enc_algo"], other["port"], other["sslmode"]) == (
        False,
        None,
        5432,
        "prefer",
    )
    page = office.admin.get("/api/datasources", params={"limit": 1, "offset": 1}).json()
    assert page == {"items": [source], "total": 2, "limit": 1, "offset": 1}
    assert office.editor.get("/api/admin/sources").json() == [
        {"id": other["id"], "name": "Another"},
        {"id": source["id"], "name": "shop"},
    ]
    changed = office.admin.patch("/api/datasources/shop", json={"max_concurrency": 9}).json()
    assert changed == source | {"max_concurrency": 9, "updated_at": changed["updated_at"]}
    assert code(office.admin.patch("/api/datasources/shop", json={"name": "Another"})) == (409, "name_taken")
    gone = office.admin.delete("/api/datasources/Another")
    assert (gone.status_code, gone.content) == (204, b"")
    assert code(office.admin.get("/api/datasources/Another")) == (404, "not_found")


def test_all_that_is_wrong_with_a_source_is_told_at_once(office: Office) -> None:
    before = office.state()
    wrong = {
        "name": 1,
        "host": "a,b",
        "port": 70000,
        "sslmode": "maybe",
        "max_concurrency": "4",
        "nonsense": 1,
    }
    answer = office.admin.post("/api/datasources", json=wrong)
    assert code(answer) == (400, "invalid_request")
    assert {fault["field"] for fault in answer.json()["errors"]} == {*wrong, "dbname", "username"}
    for host in ("/tmp", "@x", "::1%lo", "0x7f.1", "a\x00b", "\ud800", "host=x port=1", "", "x" * 300):
        body = json.dumps(office.new_source(host=host))
        answer = office.admin.post(
            "/api/datasources", content=body, headers={"Content-Type": "application/json"}
        )
        assert code(answer) == (400, "invalid_request")
        assert [fault["field"] for fault in answer.json()["errors"]] == ["host"]
    assert office.state() == before


def test_root_certificate_is_one_and_brings_no_key_along(office: Office) -> None:
    bundle = f"# one\r\n{CERTIFICATE}# two\r\n{OTHER_CERTIFICATE}"
    assert office.add_source(sslrootcert=bundle)["sslrootcert"] == bundle
    before = office.state()
    for pem, told in (
        (CERTIFICATE + PRIVATE_KEY, "holds a private key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "cannot be read as a certificate"),
    ):
        changed = {"sslrootcert": pem, "password": SECRET}
        for answer in (
            office.admin.post("/api/datasources", json=office.new_source(name="other", sslrootcert=pem)),
            office.admin.patch("/api/datasources/shop", json=changed),
        ):
            assert code(answer) == (400, "invalid_request")
            [fault] = answer.json()["errors"]
            assert fault["field"] == "sslrootcert"
            assert told in fault["message"]
            assert KEY_TEXT not in answer.text
    assert office.state() == before


def test_password_goes_only_where_it_was_meant_to(office: Office) -> None:
    office.add_source(password=SECRET)
    before = office.state()
    for change in (
        {"host": "evil.example"},
        {"port": 1},
        {"dbname": "other"},
        {"username": "other"},
        {"sslmode": "prefer"},
        {"sslrootcert": CERTIFICATE},
        {"port": None},
    ):
        answer = office.admin.patch("/api/datasources/shop", json=change)
        assert (code(answer), answer.json()["errors"][0]["field"]) == (
            (400, "password_required"),
            next(iter(change)),
        )
    assert office.state() == before
    same = office.new_source()
    del same["password"]
    assert office.admin.patch("/api/datasources/shop", json=same).status_code == 200
    assert office.state() == before
    moved = office.admin.patch("/api/datasources/shop", json={"port": 1, "password": SECRET})
    assert moved.json()["port"] == 1
    assert (
        office.admin.patch("/api/datasources/shop", json={"password": None}).json()["has_password"] is False
    )
    assert office.admin.patch("/api/datasources/shop", json={"port": 2}).status_code == 200


def test_password_sealed_elsewhere_is_opened_checked_and_bound(office: Office) -> None:
    def sealed(text: str) -> str:
        return b64encode(bytes(SealedBox(PublicKey(office.public)).encrypt(text.encode()))).decode()

    def envelope(**changes: object) -> str:
        place_of = office.new_source()
        given = {name: place_of[name] for name in ("host", "port", "dbname", "username", "password")}
        return json.dumps({**given, "v": 1, **changes})

    for name, box in (("bare", sealed(office.source.password)), ("bound", sealed(envelope()))):
        given = office.new_source(name=name, enc_password_b64=box)
        del given["password"]
        made = office.admin.post("/api/datasources", json=given)
        assert made.status_code == 201, made.text
        assert box not in made.text
        found = office.admin.post(f"/api/datasources/{name}/test").json()
        assert (found["ok"], found["warnings"]) == (True, [])
        assert found["latency_ms"] > 0
    stored = office.people.sql("select enc_password from data_source where name = 'bare'")[0][0]
    before = office.state()
    for moved in (
        sealed(envelope(host="evil.example")),
        b64encode(stored).decode()[:-8],
        b64encode(b"x").decode(),
        "***",
    ):
        answer = office.admin.patch("/api/datasources/bare", json={"enc_password_b64": moved})
        assert (code(answer), answer.json()["errors"][0]["field"]) == (
            (400, "invalid_request"),
            "enc_password_b64",
        )
    # a stored ciphertext, moved to a source of somebody's own
    stolen = {"host": "evil.example", "enc_password_b64": b64encode(stored).decode()}
    assert code(office.admin.patch("/api/datasources/bare", json=stolen)) == (400, "invalid_request")
    assert office.state() == before


def test_without_private_key_only_the_bound_envelope_is_taken(
    office: Office, key_settings: dict[str, str]
) -> None:
    binding = {name: office.new_source()[name] for name in ("host", "port", "dbname", "username")}
    box = SealedBox(PublicKey(office.public))
    bare = b64encode(bytes(box.encrypt(SECRET.encode()))).decode()
    bound = b64encode(
        bytes(box.encrypt(json.dumps({**binding, "password": office.source.password, "v": 1}).encode()))
    ).decode()
    admin_id = office.people.account("sealer", "admin")
    with people_over(office.database, PUBLIC_KEY_B64_PATH=key_settings["PUBLIC_KEY_B64_PATH"]) as people:
        admin = people.session(admin_id)
        given = office.new_source(name="sealed")
        del given["password"]
        answer = admin.post("/api/datasources", json=given | {"enc_password_b64": bare})
        assert code(answer) == (503, "no_private_key")
        assert "retry-after" in answer.headers
        made = admin.post(
            "/api/datasources", json=given | {"enc_password_b64": bound, "enc_algo": "sealedbox-v1"}
        )
        assert made.status_code == 201, made.text
        assert admin.post("/api/datasources", json=office.new_source(name="plain")).status_code == 201
        admin.post("/api/admin/queries", json=new_query(data_source="sealed"))
        for path in ("/api/datasources/sealed/test", "/api/admin/queries/sales/test"):
            assert code(admin.post(path)) == (503, "no_private_key")
    for name in ("sealed", "plain"):
        assert office.admin.post(f"/api/datasources/{name}/test").json()["ok"] is True


def test_source_that_does_not_answer_is_a_finding(office: Office) -> None:
    office.add_source(port=1)
    found = office.admin.post("/api/datasources/shop/test")
    assert (found.status_code, found.json()["ok"], found.json()["error"]["code"]) == (
        200,
        False,
        "source_unreachable",
    )
    office.add_source(name="wrong", password=SECRET)
    told = office.admin.post("/api/datasources/wrong/test")
    assert told.json()["error"]["code"] == "source_auth"
    assert SECRET not in told.text
