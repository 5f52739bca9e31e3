/* kvapi: see kube/rest/. */
int main(void)
{
    return 0;
}
