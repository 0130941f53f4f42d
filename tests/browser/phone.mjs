// A phone as far as REGISTER goes: over UDP, with a digest (RFC 7616, MD5).

import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';

const md5 = (text) => createHash('md5').update(text).digest('hex');
const DOMAIN = 'example.com';

export class Phone {
  #socket;
  #waiting;
  #cseq = 0;
  #call = randomBytes(8).toString('hex');
  #challenge;

  /** One of account `u<number>`, at a port of its own. */
  static async start(target, number, agent = 'Test phone', password = `p${number}`) {
    const phone = new Phone();
    const split = target.lastIndexOf(':');
    phone.target = { host: target.slice(0, split), port: Number(target.slice(split + 1)) };
    Object.assign(phone, { user: `u${number}`, agent, password });
    phone.#socket = createSocket('udp4');
    phone.#socket.on('message', (bytes) => {
      phone.#waiting?.(bytes.toString());
      phone.#waiting = undefined;
    });
    await new Promise((bound) => phone.#socket.bind(0, '127.0.0.1', bound));
    return phone;
  }

  close() {
    this.#socket.close();
  }

  #header() {
    if (!this.#challenge) {
      return '';
    }
    const { realm, nonce, opaque } = this.#challenge;
    const [uri, nc, cnonce] = [`sip:${DOMAIN}`, '00000001', randomBytes(6).toString('hex')];
    const ha1 = md5(`${this.user}:${realm}:${this.password}`);
    const response = md5(`${ha1}:${nonce}:${nc}:${cnonce}:auth:${md5(`REGISTER:${uri}`)}`);
    this.#challenge = undefined;
    const more = opaque ? `, opaque="${opaque}"` : '';
    return (
      `Authorization: Digest username="${this.user}", realm="${realm}", nonce="${nonce}", ` +
      `uri="${uri}", response="${response}", algorithm=MD5, qop=auth, nc=${nc}, ` +
      `cnonce="${cnonce}"${more}\r\n`
    );
  }

  #ask(expires) {
    const { port } = this.#socket.address();
    this.#cseq += 1;
    const request =
      `REGISTER sip:${DOMAIN} SIP/2.0\r\n` +
      `Via: SIP/2.0/UDP 127.0.0.1:${port};branch=z9hG4bK${randomBytes(8).toString('hex')};rport\r\n` +
      `Max-Forwards: 70\r\n` +
      `From: <sip:${this.user}@${DOMAIN}>;tag=${randomBytes(4).toString('hex')}\r\n` +
      `To: <sip:${this.user}@${DOMAIN}>\r\n` +
      `Call-ID: ${this.#call}\r\nCSeq: ${this.#cseq} REGISTER\r\n` +
      `Contact: <sip:${this.user}@127.0.0.1:${port}>\r\nExpires: ${expires}\r\n` +
      `User-Agent: ${this.agent}\r\n${this.#header()}Content-Length: 0\r\n\r\n`;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no answer to ${request}`)), 10000);
      this.#waiting = (text) => {
        clearTimeout(late);
        resolve(text);
      };
      this.#socket.send(request, this.target.port, this.target.host);
    });
  }

  /** Registers, answering one challenge; the status it ends with. */
  async register(expires = 600) {
    let answer = await this.#ask(expires);
    if (answer.startsWith('SIP/2.0 401')) {
      const challenge = answer.split('\r\n').find((line) => /^WWW-Authenticate:.*MD5/i.test(line));
      const value = (name) => new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1];
      this.#challenge = { realm: value('realm'), nonce: value('nonce'), opaque: value('opaque') };
      answer = await this.#ask(expires);
    }
    return Number(answer.split(' ')[1]);
  }
}
