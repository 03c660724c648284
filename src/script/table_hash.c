#include "script/table_hash.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

struct table_hash {
    EVP_MD_CTX *context;
};

struct table_hash *table_hash_new(void)
{
    struct table_hash *h = mem_alloc(sizeof *h);
    h->context = EVP_MD_CTX_new();
    assert(h->context);
    int ok = EVP_DigestInit_ex(h->context, EVP_sha256(), NULL);
    assert(ok == 1);
    return h;
}

void table_hash_text(struct table_hash *h, struct str text)
{
    int ok = EVP_DigestUpdate(h->context, text.ptr, text.len);
    assert(ok == 1);
}

void table_hash_file(struct table_hash *h, const char *name, struct str text)
{
    char length[32];
    int digits = snprintf(length, sizeof length, "\n%zu\n", text.len);
    table_hash_text(h, (struct str){"", 1}); /* a NUL, which no table holds, ends what came before */
    table_hash_text(h, str_from(name));
    table_hash_text(h, (struct str){length, (size_t)digits});
    table_hash_text(h, text);
}

void table_hash_end(struct table_hash *h, char out[HASH_TEXT])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    int ok = EVP_DigestFinal_ex(h->context, digest, &len);
    assert(ok == 1 && len == 32);
    for (unsigned i = 0; i < len; i++)
        snprintf(out + (size_t)2 * i, 3, "%02x", digest[i]);
    EVP_MD_CTX_free(h->context);
    free(h);
}
