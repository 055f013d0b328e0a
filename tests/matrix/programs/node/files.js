// Node's ways to files, on the folder argv[2]. Prints what they give.
const fs = require('fs');
const path = require('path');
const crypto = require('crypto');
const { pipeline } = require('stream/promises');
const zlib = require('zlib');

const D = process.argv[2], W = process.argv[3];
const md5 = (data) => crypto.createHash('md5').update(data).digest('hex');
const say = (...words) => console.log(...words);
const attempt = (name, call) => {
  try { say(name, call()); } catch (error) { say(name, error.code); }
};

function sync() {
  say('read', md5(fs.readFileSync(path.join(D, 'bytes_/big'))));
  say('text', fs.readFileSync(path.join(D, 'text/pairs'), 'utf8'));
  const fd = fs.openSync(path.join(D, 'bytes_/b65537'), 'r');
  const buffer = Buffer.alloc(100);
  say('positional', fs.readSync(fd, buffer, 0, 100, 65500), md5(buffer));
  say('sequential', fs.readSync(fd, buffer), fs.readSync(fd, buffer), md5(buffer));
  say('vector', fs.readvSync(fd, [Buffer.alloc(10), Buffer.alloc(20)], 5));
  const stat = fs.fstatSync(fd);
  say('fstat', stat.size, stat.mtimeMs, stat.mode.toString(8), stat.isFile());
  fs.closeSync(fd);
  say('list', fs.readdirSync(path.join(D, 'tree'), { recursive: true }).sort().length);
  say('types', fs.readdirSync(path.join(D, 'tree'), { withFileTypes: true }).map((e) => e.name + e.isDirectory()).sort().join());
  say('odd', fs.readdirSync(path.join(D, 'tree/odd'), 'buffer').map((b) => b.toString('hex')).sort().join().length);
  say('exists', fs.existsSync(path.join(D, 'text/none')), fs.existsSync(D));
  say('realpath', fs.realpathSync(path.join(D, 'tree/../text/pairs')), fs.realpathSync.native(path.join(D, 'tree/./d0')));
  fs.cpSync(path.join(D, 'tree/d1'), path.join(W, 'd1'), { recursive: true });
  fs.copyFileSync(path.join(D, 'bytes_/b131073'), path.join(W, 'copied'));
  attempt('clone', () => fs.copyFileSync(path.join(D, 'bytes_/b4096'), path.join(W, 'clone'), fs.constants.COPYFILE_FICLONE));
  for (const [name, call] of Object.entries({
    write: () => fs.writeFileSync(path.join(D, 'text/new'), 'x'), unlink: () => fs.unlinkSync(path.join(D, 'text/pairs')),
    mkdir: () => fs.mkdirSync(path.join(D, 'new')), rename: () => fs.renameSync(path.join(D, 'text/pairs'), path.join(D, 'p')),
    open: () => fs.openSync(path.join(D, 'none')), readDirectory: () => fs.readFileSync(path.join(D, 'text')),
    listFile: () => fs.readdirSync(path.join(D, 'text/pairs')), access: () => fs.accessSync(path.join(D, 'text/pairs'), fs.constants.R_OK),
    writable: () => fs.accessSync(path.join(D, 'text/pairs'), fs.constants.W_OK), truncate: () => fs.truncateSync(path.join(D, 'text/pairs'), 1),
  })) attempt(name, call);
  process.chdir(path.join(D, 'tree/d0'));
  say('cwd', process.cwd(), fs.readFileSync('e1/f1.txt', 'utf8').length);
  process.chdir(W);
}

async function promises() {
  const file = await fs.promises.open(path.join(D, 'text/table.tsv'));
  let lines = 0;
  for await (const line of file.readLines()) lines += line.length > 0;
  say('lines', lines);
  const names = (await fs.promises.readdir(path.join(D, 'tree/many'))).sort();
  const all = await Promise.all(names.map((name) => fs.promises.readFile(path.join(D, 'tree/many', name))));
  say('at once', md5(Buffer.concat(all)));
  let count = 0;
  for await (const entry of await fs.promises.opendir(path.join(D, 'tree'), { recursive: true })) count += entry.isFile();
  say('opendir', count);
  say('stats', (await Promise.all(names.slice(0, 50).map((n) => fs.promises.stat(path.join(D, 'tree/many', n))))).map((s) => s.size).join(''));
  await pipeline(fs.createReadStream(path.join(D, 'bytes_/big'), { highWaterMark: 100000 }), zlib.createGzip({ level: 1 }), zlib.createGunzip(), fs.createWriteStream(path.join(W, 'big')));
  await pipeline(fs.createReadStream(path.join(D, 'bytes_/big'), { start: 12345, end: 2345678 }), fs.createWriteStream(path.join(W, 'part')));
  await fs.promises.open(path.join(D, 'none')).catch((error) => say('none', error.code, error.message));
}

async function workers() {
  const { Worker } = require('worker_threads');
  const source = `const { parentPort, workerData } = require('worker_threads'); const fs = require('fs');
    const hash = require('crypto').createHash('md5'); for (let i = 0; i < 20; i++) hash.update(fs.readFileSync(workerData)); parentPort.postMessage(hash.digest('hex'));`;
  const results = await Promise.all([0, 1, 4095, 4096, 65537, 131072].map((size) => new Promise((resolve, reject) => {
    const worker = new Worker(source, { eval: true, workerData: path.join(D, 'bytes_/b' + size) });
    worker.on('message', resolve).on('error', reject);
  })));
  say('workers', results.join());
}

function children() {
  const { execFileSync, spawnSync } = require('child_process');
  say('child', execFileSync('md5sum', [path.join(D, 'text/words')]).toString());
  const fd = fs.openSync(path.join(D, 'text/pairs'), 'r');
  say('stdin', spawnSync('sort', { stdio: [fd, 'pipe', 'inherit'] }).stdout.toString());
  say('cwd', spawnSync('sh', ['-c', 'pwd; cat private'], { cwd: path.join(D, 'tree') }).stdout.toString());
}

(async () => {
  sync();
  await promises();
  await workers();
  children();
  say('module', require(path.join(D, 'node/module')).answer, require(path.join(D, 'node/data.json')).list.length);
  say('import', (await import(path.join(D, 'node/esm.mjs'))).default);
})();
