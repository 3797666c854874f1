package redkite;

import io.milvus.v2.client.ConnectConfig;
import io.milvus.v2.client.MilvusClientV2;

/** A round through both clients of Milvus's SDK for Java. Prints "ok" and exits with 0 only when every step holds. */
public final class Main {
    private static String address;
    private static String token = "";
    private static String certificate = "";

    public static void main(String[] arguments) throws Exception {
        address = arguments[0];
        boolean guarded = arguments.length > 2;
        if (guarded) {
            token = arguments[1] + ":" + arguments[2];
        }
        if (arguments.length > 3) {
            certificate = arguments[3];
        }
        MilvusClientV2 client = connect("default", token);
        new Rows(client).run();
        new Reads(client).run();
        new Changes(client).run();
        new Definitions(client).run();
        new Rights(client, guarded).run();
        new Upkeep(client).run();
        client.close();
        new Legacy(address, token, certificate).run();
        if (Steps.failed > 0) {
            System.exit(1);
        }
        System.out.println("ok");
        System.exit(0);
    }

    static MilvusClientV2 connect(String database, String token) {
        ConnectConfig.ConnectConfigBuilder config =
                ConnectConfig.builder().uri("http://" + address).token(token).dbName(database);
        if (!certificate.isEmpty()) {
            config.uri("https://" + address).secure(true).serverPemPath(certificate).serverName("localhost");
        }
        return new MilvusClientV2(config.build());
    }

    static String token() {
        return token;
    }
}
