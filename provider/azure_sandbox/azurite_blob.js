// Azurite's blob service for a sandbox: it looks accounts up in a file of ours, which the sandbox replaces whenever a key
// changes. By itself Azurite reads its environment once a minute, which nobody outside can change.
"use strict";

const { readFileSync, statSync } = require("fs");
const { join } = require("path");

const built = join(process.env.AZURITE_PACKAGE, "dist", "src");
const accounts = process.env.AZURITE_ACCOUNTS_FILE;
const { default: AccountDataStore } = require(join(built, "common", "AccountDataStore"));

class FreshAccounts {
  static mark = "";

  static install(prototype) {
    const inherited = prototype.getAccount;
    prototype.getAccount = function getAccount(name) {
      FreshAccounts.bring(this);
      return inherited.call(this, name);
    };
  }

  static bring(store) {
    const { ino, mtimeNs, size } = statSync(accounts, { bigint: true });
    const mark = [ino, mtimeNs, size].join("/");
    if (mark === FreshAccounts.mark) return;
    process.env.AZURITE_ACCOUNTS = readFileSync(accounts, "utf8").trim();
    store.refresh();
    FreshAccounts.mark = mark;
  }
}

FreshAccounts.install(AccountDataStore.prototype);

// The sandbox holds the other end of standard input: when it is gone, however it ended, this ends as on a signal, which
// writes down what blobs there are.
process.stdin.on("end", () => process.kill(process.pid, "SIGTERM")).resume();
process.stdin.unref();

require(join(built, "blob", "main"));
