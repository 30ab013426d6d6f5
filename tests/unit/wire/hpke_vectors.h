/*
 * HPKE test vectors, mode Auth, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256: RFC 9180 appendix A.1.3
 * for AES-128-GCM; for AES-256-GCM the set that RFC 9180 appendix A refers to
 * (test-vectors.json of cfrg/draft-irtf-cfrg-hpke at 5f503c5). The sequence numbers are those
 * that the RFC prints.
 */
#ifndef POLDER_TESTS_UNIT_WIRE_HPKE_VECTORS_H
#define POLDER_TESTS_UNIT_WIRE_HPKE_VECTORS_H

#include "proto/wire/hpke.h"

struct hpke_vector {
    enum hpke_aead aead;
    const char *info, *ephemeral_secret, *recipient_secret, *recipient_public;
    const char *sender_secret, *sender_public, *enc, *plain;
    struct {
        uint64_t sequence;
        const char *aad, *sealed;
    } sealed[6];
};

static const struct hpke_vector hpke_vectors[] = {
    {.aead = HPKE_AES_128_GCM,
     .info = "4f6465206f6e2061204772656369616e2055726e",
     .ephemeral_secret = "ff4442ef24fbc3c1ff86375b0be1e77e88a0de1e79b30896d73411c5ff4c3518",
     .recipient_secret = "fdea67cf831f1ca98d8e27b1f6abeb5b7745e9d35348b80fa407ff6958f9137e",
     .recipient_public = "1632d5c2f71c2b38d0a8fcc359355200caa8b1ffdf28618080466c909cb69b2e",
     .sender_secret = "dc4a146313cce60a278a5323d321f051c5707e9c45ba21a3479fecdf76fc69dd",
     .sender_public = "8b0c70873dc5aecb7f9ee4e62406a397b350e57012be45cf53b7105ae731790b",
     .enc = "23fb952571a14a25e3d678140cd0e5eb47a0961bb18afcf85896e5453c312e76",
     .plain = "4265617574792069732074727574682c20747275746820626561757479",
     .sealed =
         {
             {0, "436f756e742d30",
              "5fd92cc9d46dbf8943e72a07e42f363ed5f721212cd90bcfd072bfd9f44e06b8"
              "0fd17824947496e21b680c141b"},
             {1, "436f756e742d31",
              "d3736bb256c19bfa93d79e8f80b7971262cb7c887e35c26370cfed62254369a1"
              "b52e3d505b79dd699f002bc8ed"},
             {2, "436f756e742d32",
              "122175cfd5678e04894e4ff8789e85dd381df48dcaf970d52057df2c9acc3b12"
              "1313a2bfeaa986050f82d93645"},
             {4, "436f756e742d34",
              "dae12318660cf963c7bcbef0f39d64de3bf178cf9e585e756654043cc5059873"
              "bc8af190b72afc43d1e0135ada"},
             {255, "436f756e742d323535",
              "55d53d85fe4d9e1e97903101eab0b4865ef20cef28765a47f840ff99625b7d69"
              "dee927df1defa66a036fc58ff2"},
             {256, "436f756e742d323536",
              "42fa248a0e67ccca688f2b1d13ba4ba84755acf764bd797c8f7ba3b9b1dc3330"
              "326f8d172fef6003c79ec72319"},
         }},
    {.aead = HPKE_AES_256_GCM,
     .info = "4f6465206f6e2061204772656369616e2055726e",
     .ephemeral_secret = "805b278cabd22c9dbd461bf25771703eda4950ed3ef35b369163097899555356",
     .recipient_secret = "47f1eee3670dfaaf27c30a83d06ee9f257af174727c17b35328ef730dfc1cd81",
     .recipient_public = "3668d659cec6f338f4f8dc6da6733118d2a633f186a3c1415c895111a8eb7c7d",
     .sender_secret = "98fdf9b9773578a79d4ba82fbe483c74cc2e3b8d9525d148a18969fd79a74876",
     .sender_public = "4a91c3d0893433f5e31a79fc520f885527a1bc60bf2b0c72693dd7f0b2e41a5a",
     .enc = "9e59f4b1fa5c876f684765290c34e51145894cc4f244342b9fb1a4bdfd8bb426",
     .plain = "4265617574792069732074727574682c20747275746820626561757479",
     .sealed =
         {
             {0, "436f756e742d30",
              "10b964283ac2cc0bdc4c85ab617291b446bf3832e9359b2c3a0facc50ea75a3c"
              "1afd08aeaacd6041d02eb560ec"},
             {1, "436f756e742d31",
              "83b24287a5ac672289ccebf5ec303d3c0a85bc60bb7a748014d85179b51c7552"
              "ca93a70817ee3140442f92e23b"},
             {2, "436f756e742d32",
              "f42d890891825c1a57dea5a66baf2c940126704682826bc7c5caee60ca71578d"
              "767db256b0c2a4051bef1236f7"},
             {4, "436f756e742d34",
              "470a09a528036f80a2f1e23bced44551e5da71dff490bd7de6e01e2eb412cfe6"
              "9be650b201f10e55a9c289e712"},
             {255, "436f756e742d323535",
              "f2783a56b5f0cac017424bbe7d29dc9cc45ea7a6050ef83c3284f5ad7bc889aa"
              "b2cb46e6916a683b17b903b63e"},
             {256, "436f756e742d323536",
              "16bc024eb0af9037260c822d45fa786e3c259aab1b7a4a196a72c3e794e78446"
              "440ba42b531da44d3d36d0a042"},
         }},
};

#endif
