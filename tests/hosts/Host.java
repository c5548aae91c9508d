// SPDX-License-Identifier: Apache-2.0
// A Java program with its keys in keymoot: every kind of use once, or signatures and TLS handshakes in a loop until a file exists.
// Usage: java Host.java CONFIG PIN once | java Host.java CONFIG PIN loop COUNT_FILE FAILED_FILE STOP_FILE
// What Java's own providers compute checks what the token computed, and the other way round.

import java.io.*;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.X509Certificate;
import java.security.spec.*;
import java.util.*;
import javax.crypto.*;
import javax.crypto.spec.*;
import javax.net.ssl.*;

public class Host {
    static Provider token;
    static KeyStore store;
    static final byte[] MESSAGE = "a message that is longer than one block of any cipher".getBytes(StandardCharsets.UTF_8);

    static void open(String config, char[] pin) throws Exception {
        // README: Keys.java
        token = provider;
        store = keys;
    }

    static void check(boolean is, String what) {
        if (!is)
            throw new IllegalStateException(what);
        System.out.println("ok " + what);
    }

    static boolean signs(String alias, String algorithm, AlgorithmParameterSpec parameters) throws Exception {
        Signature signer = Signature.getInstance(algorithm, token);
        if (parameters != null)
            signer.setParameter(parameters);
        signer.initSign((PrivateKey) store.getKey(alias, null));
        signer.update(MESSAGE);
        byte[] signature = signer.sign();
        PublicKey key = store.getCertificate(alias).getPublicKey();
        for (Provider verifier : new Provider[] {Security.getProvider(key.getAlgorithm().equals("EC") ? "SunEC" : "SunRsaSign"), token}) {
            Signature check = Signature.getInstance(algorithm, verifier);
            if (parameters != null)
                check.setParameter(parameters);
            check.initVerify(key);
            check.update(MESSAGE);
            if (!check.verify(signature))
                return false;
        }
        return true;
    }

    static void signatures() throws Exception {
        for (String algorithm : List.of("SHA256withECDSA", "SHA384withECDSA", "SHA512withECDSA", "SHA256withECDSAinP1363Format"))
            check(signs("java-ec", algorithm, null), algorithm);
        for (String algorithm : List.of("SHA256withRSA", "SHA384withRSA", "SHA512withRSA"))
            check(signs("java-rsa", algorithm, null), algorithm);
        check(signs("java-rsa", "RSASSA-PSS", new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1)), "RSASSA-PSS");
    }

    static void decryption() throws Exception {
        Cipher software = Cipher.getInstance("RSA/ECB/PKCS1Padding", "SunJCE");
        software.init(Cipher.ENCRYPT_MODE, store.getCertificate("java-rsa").getPublicKey());
        byte[] secret = software.doFinal(MESSAGE);
        Cipher hard = Cipher.getInstance("RSA/ECB/PKCS1Padding", token);
        hard.init(Cipher.DECRYPT_MODE, store.getKey("java-rsa", null));
        check(Arrays.equals(hard.doFinal(secret), MESSAGE), "RSA decryption");
    }

    // A key that stays in the token, and one that the program gives to the token and to Java alike.
    static void secretKeys() throws Exception {
        SecretKey kept = (SecretKey) store.getKey("java-aes", null), given = new SecretKeySpec(new byte[32], "AES");
        byte[] iv = new byte[16], nonce = new byte[12];
        for (SecretKey key : List.of(kept, given)) {
            String which = key == kept ? " with a key of the token" : " with a key that is given";
            for (String mode : List.of("AES/CBC/PKCS5Padding", "AES/CBC/NoPadding", "AES/CTR/NoPadding", "AES/GCM/NoPadding")) {
                AlgorithmParameterSpec parameters = mode.contains("GCM") ? new GCMParameterSpec(128, nonce) : new IvParameterSpec(iv);
                byte[] text = mode.equals("AES/CBC/NoPadding") ? Arrays.copyOf(MESSAGE, 48) : MESSAGE;
                Cipher cipher = Cipher.getInstance(mode, token);
                cipher.init(Cipher.ENCRYPT_MODE, key, parameters);
                byte[] secret = cipher.doFinal(text);
                cipher = key == kept ? Cipher.getInstance(mode, token) : Cipher.getInstance(mode, "SunJCE");
                cipher.init(Cipher.DECRYPT_MODE, key, parameters);
                check(Arrays.equals(cipher.doFinal(secret), text), mode + which);
            }
        }
        SecretKey hmac = new SecretKeySpec(new byte[32], "HmacSHA256");
        for (String algorithm : List.of("HmacSHA1", "HmacSHA256", "HmacSHA512")) {
            Mac hard = Mac.getInstance(algorithm, token), software = Mac.getInstance(algorithm, "SunJCE");
            hard.init(hmac);
            software.init(hmac);
            check(Arrays.equals(hard.doFinal(MESSAGE), software.doFinal(MESSAGE)), algorithm);
        }
        for (String algorithm : List.of("SHA-1", "SHA-256", "SHA-512"))
            check(Arrays.equals(MessageDigest.getInstance(algorithm, token).digest(MESSAGE), MessageDigest.getInstance(algorithm, "SUN").digest(MESSAGE)), algorithm);
        KeyGenerator generator = KeyGenerator.getInstance("AES", token);
        generator.init(256);
        check(generator.generateKey() != null, "a session key");
        byte[] random = new byte[64];
        SecureRandom.getInstance("PKCS11", token).nextBytes(random);
        check(!Arrays.equals(random, new byte[64]), "random bytes");
    }

    // Key pairs of this run only, as a program makes them for ECDH and for wrapping.
    static void sessionPairs() throws Exception {
        KeyPairGenerator hard = KeyPairGenerator.getInstance("EC", token), software = KeyPairGenerator.getInstance("EC", "SunEC");
        hard.initialize(new ECGenParameterSpec("secp256r1"));
        software.initialize(new ECGenParameterSpec("secp256r1"));
        KeyPair ours = hard.generateKeyPair(), theirs = software.generateKeyPair();
        Signature signer = Signature.getInstance("SHA256withECDSA", token), verifier = Signature.getInstance("SHA256withECDSA", "SunEC");
        signer.initSign(ours.getPrivate());
        signer.update(MESSAGE);
        byte[] signature = signer.sign();
        verifier.initVerify(ours.getPublic());
        verifier.update(MESSAGE);
        check(verifier.verify(signature), "a key pair of the session signs");
        KeyAgreement a = KeyAgreement.getInstance("ECDH", token), b = KeyAgreement.getInstance("ECDH", "SunEC");
        a.init(ours.getPrivate());
        a.doPhase(theirs.getPublic(), true);
        b.init(theirs.getPrivate());
        b.doPhase(ours.getPublic(), true);
        check(Arrays.equals(a.generateSecret(), b.generateSecret()), "ECDH");
    }

    /* --- TLS, server and client in this process, each with a key and certificate of the token --- */

    static KeyManager only(String alias) throws Exception {
        PrivateKey key = (PrivateKey) store.getKey(alias, null);
        X509Certificate[] chain = {(X509Certificate) store.getCertificate(alias)};
        return new X509ExtendedKeyManager() {
            public String[] getClientAliases(String type, Principal[] issuers) { return new String[] {alias}; }
            public String[] getServerAliases(String type, Principal[] issuers) { return getClientAliases(type, issuers); }
            public String chooseClientAlias(String[] types, Principal[] issuers, Socket socket) { return alias; }
            public String chooseServerAlias(String type, Principal[] issuers, Socket socket) { return key.getAlgorithm().equals(type) || type.startsWith(key.getAlgorithm()) ? alias : null; }
            public X509Certificate[] getCertificateChain(String which) { return chain; }
            public PrivateKey getPrivateKey(String which) { return key; }
        };
    }

    static SSLContext context(String alias, String peer) throws Exception {
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        trusted.setCertificateEntry("peer", store.getCertificate(peer));
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(trusted);
        SSLContext context = SSLContext.getInstance("TLSv1.3");
        context.init(new KeyManager[] {only(alias)}, trust.getTrustManagers(), null);
        return context;
    }

    static SSLServerSocket server;

    static void serve(String alias, String peer) throws Exception {
        server = (SSLServerSocket) context(alias, peer).getServerSocketFactory().createServerSocket(0, 50, java.net.InetAddress.getLoopbackAddress());
        server.setNeedClientAuth(true);
        Thread thread = new Thread(() -> {
            while (true) {
                try (SSLSocket socket = (SSLSocket) server.accept()) {
                    socket.getOutputStream().write(socket.getInputStream().read());
                } catch (IOException e) {
                    System.err.println("server: " + e);
                }
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    // A full handshake: a context of its own has no session to resume. The byte that comes back says that the server took the client's signature.
    static void connect(String alias, String peer) throws Exception {
        try (SSLSocket socket = (SSLSocket) context(alias, peer).getSocketFactory().createSocket("localhost", server.getLocalPort())) {
            socket.setSoTimeout(20000);
            socket.getOutputStream().write(42);
            if (socket.getInputStream().read() != 42)
                throw new IOException("no answer");
        }
    }

    static void loop(Path count, Path failed, Path stop) throws Exception {
        long good = 0, bad = 0;
        while (!Files.exists(stop)) {
            try {
                if (!signs("java-ec", "SHA256withECDSA", null) || !signs("java-rsa", "SHA256withRSA", null))
                    throw new IllegalStateException("a wrong signature");
                connect("java-rsa", "java-ec");
                good++;
            } catch (Exception e) {
                bad++;
                Files.writeString(failed, e + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            }
            Path fresh = Path.of(count + ".new");
            Files.writeString(fresh, good + " " + bad + "\n");
            Files.move(fresh, count, StandardCopyOption.ATOMIC_MOVE);
        }
    }

    public static void main(String[] args) throws Exception {
        open(args[0], args[1].toCharArray());
        serve("java-ec", "java-rsa");
        if (args[2].equals("loop")) {
            loop(Path.of(args[3]), Path.of(args[4]), Path.of(args[5]));
        } else {
            signatures();
            decryption();
            secretKeys();
            sessionPairs();
            connect("java-rsa", "java-ec");
            check(true, "TLS with keys of the token on both sides");
        }
        System.exit(0);
    }
}
