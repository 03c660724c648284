/* replay.c -- runs a fuzz target over the files of the folders it is given, once each. */
#include "fuzz.h"

#include <dirent.h>

#include "base/mem.h"

/* In memory that ends where the input ends, so that a byte read beyond it is seen. */
static void replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    PROMISE(file, "cannot open %s", path);
    PROMISE(fseek(file, 0, SEEK_END) == 0, "%s", path);
    size_t size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = mem_alloc(size ? size : 1);
    PROMISE(fread(data, 1, size, file) == size, "cannot read %s", path);
    fclose(file);
    fprintf(stderr, "%s\n", path); /* the last one is the culprit */
    LLVMFuzzerTestOneInput(data, size);
    free(data);
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        PROMISE(folder, "cannot open %s", argv[i]);
        for (struct dirent *entry; (entry = readdir(folder));) {
            if (entry->d_name[0] == '.')
                continue;
            char *path = mem_printf("%s/%s", argv[i], entry->d_name);
            replay(path);
            free(path);
            count++;
        }
        closedir(folder);
    }
    PROMISE(count > 0, "no inputs");
    printf("%u inputs\n", count);
    return 0;
}
