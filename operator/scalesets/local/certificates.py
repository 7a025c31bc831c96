"""The keys and certificates of one control plane: two authorities, ECDSA throughout, made anew at every start.

etcd trusts an authority of its own, so that no client certificate of the API server opens etcd. Nothing here outlives
the control plane's directory, and private keys are readable by their owner only.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MASTERS = "system:masters"
_VALIDITY = datetime.timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Where a certificate and its key lie."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Pki:
    """Every key and certificate of a control plane, by its use."""

    authority: Path
    etcd_authority: Path
    etcd: KeyPair
    etcd_client: KeyPair
    apiserver: KeyPair
    serving: KeyPair
    admin: KeyPair
    controller_manager: KeyPair
    scheduler: KeyPair
    machines: KeyPair
    service_accounts: KeyPair
    front_proxy_authority: Path
    front_proxy: KeyPair
    kubelet_client: KeyPair
    directory: Path

    def node(self, name: str) -> KeyPair:
        """Name the files of a real node's own certificate."""
        return KeyPair(self.directory / f"node-{name}.crt", self.directory / f"node-{name}.key")

    @staticmethod
    def at(directory: Path) -> Pki:
        """Name the files in `directory`, whether they are there yet or not."""

        def pair(name: str) -> KeyPair:
            return KeyPair(directory / f"{name}.crt", directory / f"{name}.key")

        return Pki(
            authority=directory / "ca.crt",
            etcd_authority=directory / "etcd-ca.crt",
            etcd=pair("etcd"),
            etcd_client=pair("etcd-client"),
            apiserver=pair("apiserver"),
            serving=pair("serving"),
            admin=pair("admin"),
            controller_manager=pair("controller-manager"),
            scheduler=pair("scheduler"),
            machines=pair("machines"),
            service_accounts=KeyPair(directory / "service-accounts.pub", directory / "service-accounts.key"),
            front_proxy_authority=directory / "front-proxy-ca.crt",
            front_proxy=pair("front-proxy"),
            kubelet_client=pair("kubelet-client"),
            directory=directory,
        )


def make_pki(directory: Path, *, hosts: Sequence[str], nodes: Sequence[str] = ()) -> Pki:
    """Make all keys and certificates anew; `hosts` are the API server's addresses besides loopback.

    With `nodes` there are real kubelets: each gets its certificate, and the API server those that it shows to kubelets
    and to aggregated APIs. The latter are of an authority of their own, as they speak in other users' names.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    pki = Pki.at(directory)
    kubernetes = _Authority.new("scalesets-local")
    etcd = _Authority.new("scalesets-local-etcd")
    pki.authority.write_bytes(_pem(kubernetes.certificate))
    pki.etcd_authority.write_bytes(_pem(etcd.certificate))

    etcd.issue(pki.etcd, "etcd", hosts=("127.0.0.1", "localhost"))
    etcd.issue(pki.etcd_client, "kube-apiserver")
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    kubernetes.issue(pki.apiserver, "kube-apiserver", hosts=("127.0.0.1", "localhost", *hosts, *names))
    kubernetes.issue(pki.serving, "kube-components", hosts=("127.0.0.1", "localhost"))
    kubernetes.issue(pki.admin, "admin", group=MASTERS)
    kubernetes.issue(pki.controller_manager, "system:kube-controller-manager")
    kubernetes.issue(pki.scheduler, "system:kube-scheduler")
    kubernetes.issue(pki.machines, "scalesets-machines", group=MASTERS)
    if nodes:
        front_proxy = _Authority.new("scalesets-local-front-proxy")
        pki.front_proxy_authority.write_bytes(_pem(front_proxy.certificate))
        front_proxy.issue(pki.front_proxy, "front-proxy")
        kubernetes.issue(pki.kubelet_client, "kube-apiserver", group=MASTERS)
    for name in nodes:
        kubernetes.issue(pki.node(name), f"system:node:{name}", group="system:nodes")

    signer = ec.generate_private_key(ec.SECP256R1())
    _write_key(pki.service_accounts.key, signer)
    pki.service_accounts.certificate.write_bytes(
        signer.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return pki


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @staticmethod
    def new(name: str) -> _Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(name, group=None)
        certificate = (
            _builder(subject, subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return _Authority(certificate, key)

    def issue(self, pair: KeyPair, name: str, *, group: str | None = None, hosts: Sequence[str] = ()) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])
        builder = (
            _builder(_subject(name, group=group), self.certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        pair.certificate.write_bytes(_pem(builder.sign(self.key, hashes.SHA256())))
        _write_key(pair.key, key)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _VALIDITY)
    )


def _subject(name: str, *, group: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if group:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(attributes)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
